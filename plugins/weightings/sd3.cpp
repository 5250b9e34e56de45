// λ = 2/(π (1 − 2σ + 2σ²)) on the error of the velocity: the cosmap density of a rectified flow, as a weight.
// Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (Stable Diffusion 3), 2024,
// section 3.1. σ is that of a flow, σ/(α + σ).
#include <cmath>
#include <numbers>

#include <dtk/weighting.hpp>

namespace {
struct Sd3 final : dtk::Weighting {
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        const double sigma = level.sigma / (level.alpha + level.sigma);
        const double of_velocity = 1 / (sigma * sigma);  // ‖Δv‖² = ‖Δx_0‖²/σ² on the straight path
        return 2 / (std::numbers::pi * (1 - 2 * sigma + 2 * sigma * sigma)) * of_velocity / per_x0;
    }
};
}  // namespace

DTK_PLUGIN(Weighting, sd3, Sd3, "the cosmap weight of rectified flows (Esser et al. 2024)")
