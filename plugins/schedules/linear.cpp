// β_i = β_start + (β_end − β_start)·i/(T−1), i = 0 … T−1
// Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, section 4.
#include <dtk/schedule.hpp>

namespace {
struct Linear final : dtk::BetaRamp {
    using BetaRamp::BetaRamp;
    double beta(double start, double end, double u) const override { return start + (end - start) * u; }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Schedule, linear, Linear, "β rises linearly (Ho et al. 2020); elsewhere: sqrt_linear")
