// Optimisers that do wrong on purpose; each names the law that it breaks as its summary.
#include <dtk/moments.hpp>

namespace {

using at::Tensor;

/// θ ← θ − lr·Δ by momentum, right but for what those below change.
struct Momentum : dtk::Optimizer {
    void begin(const dtk::Parameters& parameters) override {
        parameters_ = parameters;
        moments_.begin(parameters, {"mean"});
    }
    void step(const Tensor& rate, const Tensor& skip) override {
        dtk::average(moments_[0], dtk::gradients(parameters_.tensors), 0.9, skip);
        dtk::descend(parameters_, moments_[0], rate, 0, skip);
    }
    dtk::NamedTensors state() const override { return moments_.state(); }
    void restore(const dtk::NamedTensors& state) override { moments_.restore(state); }

    dtk::Parameters parameters_;
    dtk::Moments moments_;
};

struct Uphill final : Momentum {
    void step(const Tensor& rate, const Tensor& skip) override {
        dtk::average(moments_[0], dtk::gradients(parameters_.tensors), 0.9, skip);
        dtk::descend(parameters_, at::_foreach_neg(moments_[0]), rate, 0, skip);
    }
};

/// 0 times what is no number is no number.
struct MultipliesSkip final : Momentum {
    void step(const Tensor& rate, const Tensor& skip) override {
        const auto g = dtk::gradients(parameters_.tensors);
        for (std::size_t i = 0; i < g.size(); ++i) parameters_.tensors[i].sub_((1 - skip) * rate * g[i]);
    }
};

/// Its state says nothing of the running mean.
struct ForgetsItsMean final : Momentum {
    dtk::NamedTensors state() const override { return {}; }
    void restore(const dtk::NamedTensors&) override {}
};

/// A state that lacks something is zeros.
struct TakesAnyState final : Momentum {
    void restore(const dtk::NamedTensors& given) override {
        auto all = moments_.state();
        for (auto& [name, tensor] : all) tensor = given.contains(name) ? given.at(name) : at::zeros_like(tensor);
        moments_.restore(all);
    }
};

/// Biases decay, too.
struct DecaysAll final : Momentum {
    struct Config {
        double weight_decay = 0.01;
        void fields(dtk::Fields& f) { f("weight_decay", weight_decay, dtk::at_least(0), "λ"); }
    } c;
    explicit DecaysAll(const Config& config) : c(config) {}
    void step(const Tensor& rate, const Tensor& skip) override {
        auto all = parameters_;
        all.decays.assign(all.decays.size(), true);
        dtk::descend(all, dtk::gradients(parameters_.tensors), rate, c.weight_decay, skip);
    }
};

/// The first of the parameters is taken for the embedding.
struct FirstIsSpecial final : Momentum {
    void step(const Tensor& rate, const Tensor& skip) override {
        auto g = at::_foreach_mul(dtk::gradients(parameters_.tensors), 1.0);
        g.front().mul_(0.1);
        dtk::descend(parameters_, g, rate, 0, skip);
    }
};

/// All weights in one vector, of which there may be none.
struct OneVector final : Momentum {
    void step(const Tensor& rate, const Tensor& skip) override {
        auto g = at::_foreach_mul(dtk::gradients(parameters_.tensors), 1.0);
        std::vector<Tensor> flat;
        for (std::size_t i = 0; i < g.size(); ++i)
            if (parameters_.decays[i]) flat.push_back(g[i].flatten());
        const auto most = at::cat(flat).abs().max();
        for (auto& one : g) one = one / (most + 1);
        dtk::descend(parameters_, g, rate, 0, skip);
    }
};

/// A decay by the momentum that grows: θ goes away from 0.
struct DecaysTheWrongWay final : Momentum {
    void step(const Tensor& rate, const Tensor& skip) override {
        dtk::descend(parameters_, dtk::gradients(parameters_.tensors), rate, -0.01, skip);
    }
};

/// What moves the parameters is left in their gradients.
struct LeavesGradients final : Momentum {
    void step(const Tensor& rate, const Tensor& skip) override {
        const auto g = dtk::gradients(parameters_.tensors);
        at::_foreach_sign_(g);
        dtk::descend(parameters_, g, rate, 0, skip);
    }
};

/// Steps as long as ever: no learning rate.
struct OwnRate final : Momentum {
    void step(const Tensor& rate, const Tensor& skip) override {
        dtk::descend(parameters_, at::_foreach_sign(dtk::gradients(parameters_.tensors)), rate.clamp_min(0.05), 0,
                     skip);
    }
};

}  // namespace

DTK_PLUGIN(Optimizer, uphill, Uphill, "the first step goes downhill, for every parameter")
DTK_PLUGIN(Optimizer, multiplies_skip, MultipliesSkip,
           "a step that is skipped changes no bit, whatever the gradients are")
DTK_PLUGIN(Optimizer, forgets_its_mean, ForgetsItsMean,
           "it goes on from its state to the bit, and says what a state lacks")
DTK_PLUGIN(Optimizer, takes_any_state, TakesAnyState,
           "it goes on from its state to the bit, and says what a state lacks")
DTK_PLUGIN(Optimizer, decays_all, DecaysAll, "weights decay, and nothing else")
DTK_PLUGIN(Optimizer, first_is_special, FirstIsSpecial, "neither the order of the parameters matters nor their layout")
DTK_PLUGIN(Optimizer, one_vector, OneVector, "a matrix alone moves, a bias alone, and a number")
DTK_PLUGIN(Optimizer, decays_the_wrong_way, DecaysTheWrongWay,
           "without a gradient nothing moves, but what decays goes to 0")
DTK_PLUGIN(Optimizer, leaves_gradients, LeavesGradients,
           "two of it do the same, and leave gradients, rate and skip as they were")
DTK_PLUGIN(Optimizer, own_rate, OwnRate, "a learning rate of 0 moves nothing")
