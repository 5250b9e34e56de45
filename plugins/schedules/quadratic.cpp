// β_i = (√β_start + (√β_end − √β_start)·i/(T−1))², i = 0 … T−1
// The "quad" schedule of Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2020, appendix D.3; with the ends
// 0.00085 and 0.012 it is the "scaled linear" one of Rombach et al. 2022.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Quadratic final : dtk::BetaRamp {
    using BetaRamp::BetaRamp;
    double beta(double start, double end, double u) const override {
        return std::pow(std::sqrt(start) + (std::sqrt(end) - std::sqrt(start)) * u, 2);
    }
};
}  // namespace

DTK_PLUGIN(Schedule, quadratic, Quadratic, "√β rises linearly (Song et al. 2020); elsewhere: scaled_linear, quad")
