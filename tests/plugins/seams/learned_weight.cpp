// e^{−w}·‖target − prediction‖²/d + w with a trained w, the log-variance of the error: Kendall, Gal & Cipolla 2018.
#include <dtk/loss.hpp>

namespace {
struct LearnedWeight final : dtk::Loss {
    struct Config {
        dtk::Choice<dtk::Times> times;
        void fields(dtk::Fields& f) { f("times", times, "how t is drawn"); }
    };
    LearnedWeight(const Config& config, const dtk::View& view)
        : times_(config.times.make(view)), log_variance_(parameter("log_variance", at::zeros({}))) {}

    dtk::LossValues operator()(const dtk::Predict& predict, const dtk::Process& process, const dtk::Batch& batch,
                               const dtk::Random& random) const override {
        const auto t = times_->draw(batch, process, random.stream("t")).t;
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto prediction = predict(xt.x, t, {.label = batch.condition.label});
        const auto error =
            (prediction.value - process.target(prediction.kind, batch.x, xt, t)).square().flatten(1).mean(1);
        return {(-log_variance_).exp() * error + log_variance_, t, {{"error", error}}};
    }

    std::shared_ptr<dtk::Times> times_;
    at::Tensor& log_variance_;
};
}  // namespace

DTK_PLUGIN(Loss, learned_weight, LearnedWeight, "mean squared error under a learned variance")
