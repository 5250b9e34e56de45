//! weighting="my_weighting"
// λ·‖Δ‖² = ‖Δx_0‖²/σ: how much an error counts at each noise level.
#include <dtk/weighting.hpp>

namespace {
struct MyWeighting final : dtk::Weighting {
    // per_x0: what is compared has an error of that size where x_0 has one of 1.
    double weight(const dtk::NoiseLevel& level, double per_x0) const override { return 1 / (level.sigma * per_x0); }
};
}  // namespace

DTK_PLUGIN(Weighting, my_weighting, MyWeighting, "the error of x_0 counts 1/σ")
