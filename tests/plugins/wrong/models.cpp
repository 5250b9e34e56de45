// Networks that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>

#include <fmt/format.h>

#include <dtk/layers.hpp>
#include <dtk/model.hpp>
#include <dtk/process.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::Condition;
using dtk::Linear;
using dtk::Prediction;
using dtk::PredictionType;
using dtk::Random;
using dtk::Time;

/// One hidden layer that predicts v, right but for what those below change.
struct OneLayer : dtk::Model {
    explicit OneLayer(const dtk::BuildContext& context) : OneLayer(context, context.random("init")) {}
    OneLayer(const dtk::BuildContext& context, const Random& init, std::int64_t further = 0)
        : process_(context.process()) {
        const auto d = context.space().elements();
        in_ = child<Linear>("in", init, d + 1 + further, 24);
        out_ = child<Linear>("out", init, 24, d);
    }
    PredictionType predicts() const override { return PredictionType::v; }
    Prediction forward(const Tensor& x, const Time& t, const Condition& condition) override {
        return {predicts(), answer(x, t, condition).to(x.scalar_type()).view_as(x), {}};
    }
    virtual Tensor answer(const Tensor& x, const Time& t, const Condition&) {
        return (*out_)(hidden(x.flatten(1).to(at::kFloat), t));
    }
    Tensor hidden(const Tensor& x, const Time& t, const Tensor& further = {}) {
        const auto u = (t.on(x) / static_cast<double>(process_.steps())).to(at::kFloat).unsqueeze(1);
        return at::silu((*in_)(further.defined() ? at::cat({x, u, further}, 1) : at::cat({x, u}, 1)));
    }

    const dtk::Process& process_;
    std::shared_ptr<Linear> in_, out_;
};

/// float32, whatever it is asked in.
struct AlwaysSingle final : OneLayer {
    using OneLayer::OneLayer;
    Prediction forward(const Tensor& x, const Time& t, const Condition& condition) override {
        return {predicts(), answer(x, t, condition).view_as(x), {}};
    }
};

/// It says v and answers ε.
struct SaysAnother final : OneLayer {
    using OneLayer::OneLayer;
    Prediction forward(const Tensor& x, const Time& t, const Condition& condition) override {
        return {PredictionType::eps, answer(x, t, condition).to(x.scalar_type()).view_as(x), {}};
    }
};

/// Told log-SNR, which is −∞ where there is no signal.
struct ToldLogSnr final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        const auto level = t.map([&](double t) { return process_.levels().log_snr(t); });
        return (*out_)(hidden(x.flatten(1).to(at::kFloat), t)) * level.rows(x).unsqueeze(1).to(at::kFloat).tanh() +
               0 * level.rows(x).unsqueeze(1).to(at::kFloat);
    }
};

/// The same start, whatever the seed.
struct OneSeed final : OneLayer {
    explicit OneSeed(const dtk::BuildContext& context) : OneLayer(context, Random(0, "init")) {}
};

/// Two layers from the same random numbers.
struct SameNumbers final : OneLayer {
    explicit SameNumbers(const dtk::BuildContext& context) : OneLayer(context) {
        const auto init = context.random("init").stream("gates");
        one_ = &parameter("one", init.normal({24}, at::kFloat));
        two_ = &parameter("two", init.normal({24}, at::kFloat));
    }
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        return (*out_)(hidden(x.flatten(1).to(at::kFloat), t) * *one_ + *two_);
    }
    Tensor *one_, *two_;
};

/// Batch normalisation.
struct BatchNorm final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        const auto h = hidden(x.flatten(1).to(at::kFloat), t);
        return (*out_)(h - h.mean(0, true));
    }
};

/// A running mean that goes on outside training.
struct RunningMean final : OneLayer {
    explicit RunningMean(const dtk::BuildContext& context) : OneLayer(context) {
        mean_ = &buffer("mean", at::zeros({24}));
    }
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        const auto h = hidden(x.flatten(1).to(at::kFloat), t);
        *mean_ = 0.9 * *mean_ + 0.1 * h.detach().mean(0);
        return (*out_)(h - *mean_);
    }
    Tensor* mean_;
};

/// x is scaled where it lies.
struct ScalesX final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition& condition) override {
        auto mine = x.detach();
        return OneLayer::answer(mine.mul_(0.5), t, condition);
    }
};

/// Numbers one after the other in memory, whatever the strides are.
struct ByPointer final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition& condition) override {
        const auto d = x.numel() / x.size(0);
        return OneLayer::answer(x.as_strided({x.size(0), d}, {d, 1}), t, condition);
    }
};

/// LibTorch's dropout, from the global generator.
struct GlobalDropout final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        return (*out_)(at::dropout(hidden(x.flatten(1).to(at::kFloat), t), 0.5, training()));
    }
};

/// Dropout that goes on outside training.
struct EverDropout final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition& condition) override {
        auto h = hidden(x.flatten(1).to(at::kFloat), t);
        if (condition.random) h = 2 * h * (condition.random->stream("drop").uniform(h.sizes(), at::kFloat) > 0.5);
        return (*out_)(h);
    }
};

/// Random frequencies that are not saved.
struct LostFrequencies final : OneLayer {
    explicit LostFrequencies(const dtk::BuildContext& context) : OneLayer(context, context.random("init"), 4) {
        frequency_ = context.random("init").stream("frequency").normal({4}, at::kFloat);
    }
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        const auto u = (t.on(x) / static_cast<double>(process_.steps())).to(at::kFloat).unsqueeze(1);
        return (*out_)(hidden(x.flatten(1).to(at::kFloat), t, (u * frequency_).cos()));
    }
    Tensor frequency_;
};

/// The hidden layer gets no gradient.
struct StopsHere final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        return x.flatten(1).to(at::kFloat) + (*out_)(hidden(x.flatten(1).to(at::kFloat), t).detach());
    }
};

/// A gate through which no gradient goes.
struct DetachedGate final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition&) override {
        const auto h = hidden(x.flatten(1).to(at::kFloat), t);
        return (*out_)(h * (3 * h).detach());
    }
};

/// x goes by without its gradient.
struct DetachedX final : OneLayer {
    using OneLayer::OneLayer;
    Tensor answer(const Tensor& x, const Time& t, const Condition& condition) override {
        return OneLayer::answer(x, t, condition) + x.detach().flatten(1).to(at::kFloat);
    }
};

/// Every row is told the class of the first of all classes.
struct DeafToClasses final : OneLayer {
    struct Config {
        bool conditional = false;
        void fields(dtk::Fields& f) { f("conditional", conditional, "is it told the class?"); }
    };
    DeafToClasses(const Config& config, const dtk::BuildContext& context)
        : OneLayer(context, context.random("init"), config.conditional ? 3 : 0) {
        if (config.conditional)
            label_ = child<dtk::Embedding>("label", context.random("init"), context.space().classes, 3);
    }
    Tensor answer(const Tensor& x, const Time& t, const Condition& condition) override {
        if (!label_) return OneLayer::answer(x, t, condition);
        auto told = condition;
        told.label = at::zeros_like(condition.label);
        return (*out_)(hidden(x.flatten(1).to(at::kFloat), t, (*label_)(told)));
    }
    std::shared_ptr<dtk::Embedding> label_;
};

}  // namespace

DTK_PLUGIN(Model, always_single, AlwaysSingle,
           "the answer is shaped as the question, is of its type, and of the kind that it says")
DTK_PLUGIN(Model, says_another, SaysAnother,
           "the answer is shaped as the question, is of its type, and of the kind that it says")
DTK_PLUGIN(Model, told_log_snr, ToldLogSnr,
           "it answers finite numbers at both ends of the times, with signal and without")
DTK_PLUGIN(Model, one_seed, OneSeed,
           "a seed makes the same start, another seed another, and every parameter has numbers of its own")
DTK_PLUGIN(Model, same_numbers, SameNumbers,
           "a seed makes the same start, another seed another, and every parameter has numbers of its own")
DTK_PLUGIN(Model, batch_norm, BatchNorm, "the rows of a batch do not know each other")
DTK_PLUGIN(Model, running_mean, RunningMean, "asked twice it answers the same, whatever it was asked before")
DTK_PLUGIN(Model, scales_x, ScalesX, "it writes into nothing that it is given")
DTK_PLUGIN(Model, by_pointer, ByPointer, "the memory layout of x says nothing")
DTK_PLUGIN(Model, global_dropout, GlobalDropout, "chance is that of the step and the row, and of training alone")
DTK_PLUGIN(Model, ever_dropout, EverDropout, "chance is that of the step and the row, and of training alone")
DTK_PLUGIN(Model, lost_frequencies, LostFrequencies, "a checkpoint's tensors are all that it has learned")
DTK_PLUGIN(Model, stops_here, StopsHere, "a gradient reaches every parameter")
DTK_PLUGIN(Model, detached_gate, DetachedGate, "gradients by the parameters are slopes")
DTK_PLUGIN(Model, detached_x, DetachedX, "the gradient by x is there and is a slope")
DTK_PLUGIN(Model, deaf_to_classes, DeafToClasses, "the class matters where it is told, and nowhere else")
