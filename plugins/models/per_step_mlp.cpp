// h_0 = x_t,   h_{i+1} = sigmoid(W_i h_i + b_i),   f(x_t, t) = sigmoid(V_t h_depth + c_t):   a read-out of its own for
// each step The network of Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
// 2015, appendix D.1.2, which predicts P(x_{t−1} = 1 | x_t). Near the data that probability is 0 or 1 but for 1/T², and
// all that it says of the other bits lies there: the network fits it badly. With `residual` its logit is added to that
// of the forward kernel turned around.
#include <optional>
#include <vector>

#include <dtk/bernoulli.hpp>
#include <dtk/dataset.hpp>
#include <dtk/dense.hpp>
#include <dtk/model.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

struct PerStepMlp final : dtk::Model {
    struct Config {
        std::int64_t width = 50, depth = 3;
        std::string prediction = "mean";
        bool residual = false;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::at_least(1), "units of a hidden layer");
            f("depth", depth, dtk::at_least(1), "hidden layers, which all steps share");
            f("prediction", prediction, {"mean", "logits"},
              "what the network answers of bits: the probability of x_{t−1} = 1, or the log-odds of x_0");
            f("residual", residual, "of the mean: start from the forward kernel turned around");
        }
    };
    PerStepMlp(const Config& config, const dtk::BuildContext& context)
        : predicts_(dtk::prediction_type(config.prediction)) {
        const auto init = context.random("init");
        const auto T = context.process().steps();
        const auto d = context.space().elements();
        std::vector<std::shared_ptr<dtk::Linear>> layers;
        for (std::int64_t i = 0; i < config.depth; ++i)
            layers.push_back(
                child<dtk::Linear>("hidden" + std::to_string(i), init, i == 0 ? d : config.width, config.width));
        hidden_.emplace(std::move(layers), dtk::Activation::sigmoid, dtk::Dense::Last::activated);
        out_ = child<dtk::StepLinear>("out", init, T, config.width, d);
        if (config.residual) {
            if (predicts_ != dtk::PredictionType::mean)
                throw dtk::Error("`residual` is for prediction = \"mean\"", "leave one of them out");
            rate_ = dtk::bernoulli(context.process(), "`residual`").rate();
            process_ = &context.process();
        }
    }

    dtk::PredictionType predicts() const override { return predicts_; }

    dtk::Prediction forward(const Tensor& x, const dtk::Time& t, const dtk::Condition&) override {
        auto value = (*out_)((*hidden_)(x.flatten(1).to(at::kFloat)), t.on(x));
        if (process_) {
            const auto& levels = process_->levels();
            const auto beta = t.map([&](double t) { return levels.added_variance(t, t - 1); }).beside(x.flatten(1));
            value = value + at::logit((1 - beta) * x.flatten(1) + beta * rate_).to(at::kFloat);
        }
        if (predicts_ == dtk::PredictionType::mean) value = least + (1 - 2 * least) * value.sigmoid();
        return {predicts_, value.to(x.scalar_type()).view_as(x), {}};
    }

 private:
    static constexpr double least = 1e-7;  // a probability of 0 has an infinite bound and no gradient

    dtk::PredictionType predicts_;
    std::optional<dtk::Dense> hidden_;
    std::shared_ptr<dtk::StepLinear> out_;
    const dtk::Process* process_ = nullptr;  ///< for `residual`
    double rate_ = 0;
};
}  // namespace

DTK_PLUGIN(Model, per_step_mlp, PerStepMlp,
           "fully connected network of bits with a read-out for each step (Sohl-Dickstein et al. 2015)")
