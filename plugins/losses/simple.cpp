// L_simple = E_{t, x_0, ε} ‖target − prediction‖² / d,   t drawn by `times`
// Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, eq. 14; the target is what the model predicts (ε
// there) unless said otherwise.
#include <dtk/compared.hpp>

namespace {
struct Simple final : dtk::Loss {
    using Config = dtk::Compared::Config;
    Simple(const Config& config, const dtk::BuildContext& context) : compared_(config, context) {}

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto [error, type] = compared_(denoise, batch.x, t, random.stream("noise"));
        return {{{.value = dtk::mean_squares(error, batch.condition.mask), .error_of = type}}};
    }

    dtk::Compared compared_;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Loss, simple, Simple, "mean squared error of the prediction (Ho et al. 2020)")
