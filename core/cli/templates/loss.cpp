//! loss="my_loss"
// L = E |target − prediction|/d: one number for each example.
#include <dtk/compared.hpp>

namespace {
struct MyLoss final : dtk::Loss {
    using Config = dtk::Compared::Config;  // `target`: what is compared
    MyLoss(const Config& config, const dtk::BuildContext& context) : compared_(config, context) {}

    // All that is drawn comes from `random`, whose row i belongs to example i.
    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto [error, type] = compared_(denoise, batch.x, t, random.stream("noise"));
        return {{{.value = error.abs().flatten(1).mean(1)}}};
    }

 private:
    dtk::Compared compared_;
};
}  // namespace

DTK_PLUGIN(Loss, my_loss, MyLoss, "mean absolute error of the prediction")
