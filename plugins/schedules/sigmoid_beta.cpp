// β_i = β_start + (β_end − β_start)·S(−r + 2r·i/(T−1)),   S(z) = 1/(1 + e^{−z})
// Xu et al., "GeoDiff", 2022, with r = 6. Another schedule than `sigmoid`, whose ᾱ is one.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct SigmoidBeta final : dtk::BetaRamp {
    using BetaRamp::BetaRamp;
    double beta(double start, double end, double u) const override {
        constexpr double reach = 6;
        return start + (end - start) / (1 + std::exp(reach - 2 * reach * u));
    }
};
}  // namespace

DTK_PLUGIN(Schedule, sigmoid_beta, SigmoidBeta, "β rises like a sigmoid (Xu et al. 2022)")
