// β_i = β_start (β_end/β_start)^(i/(T−1)), i = 0 … T−1
// A geometric ramp between the ends of Ho et al. 2020, where it keeps much of the signal: ᾱ_T = 0.023. Samples that
// start from pure noise then miss the data however many steps are taken (Lin et al., "Common Diffusion Noise Schedules
// and Sample Steps are Flawed", 2023).
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Exponential final : dtk::BetaRamp {
    using BetaRamp::BetaRamp;
    double beta(double start, double end, double u) const override { return start * std::pow(end / start, u); }
};
}  // namespace

DTK_PLUGIN(Schedule, exponential, Exponential, "log β rises linearly")
