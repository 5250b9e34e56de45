// λ·‖Δ‖² = SNR·‖Δx_0‖²: the error of ε, whatever the network predicts.
// Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, section 4.
#include <cmath>

#include <dtk/weighting.hpp>

namespace {
struct Snr final : dtk::Weighting {
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        return std::exp(level.log_snr) / per_x0;
    }
};
}  // namespace

DTK_PLUGIN(Weighting, snr, Snr, "the error of x_0 counts SNR, as that of ε (Salimans & Ho 2022)")
