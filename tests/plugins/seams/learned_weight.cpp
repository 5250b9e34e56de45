// e^{−w}·‖target − prediction‖²/d + w with a trained w, the log-variance of the error: Kendall, Gal & Cipolla 2018.
#include <dtk/loss.hpp>

namespace {
struct LearnedWeight final : dtk::Loss {
    LearnedWeight() : log_variance_(parameter("log_variance", at::zeros({}))) {}

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto xt = denoise.process().noised(batch.x, t, random.stream("noise"));
        const auto prediction = denoise(xt.x, t);
        const auto target = denoise.process().target(prediction.type, batch.x, xt, t);
        const auto error = (prediction.value - target).square().flatten(1).mean(1);
        return {{{.value = (-log_variance_).exp() * error + log_variance_}}, {{"error", error}}};
    }

    at::Tensor& log_variance_;
};
}  // namespace

DTK_PLUGIN(Loss, learned_weight, LearnedWeight, "mean squared error under a learned variance")
