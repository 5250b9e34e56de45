// λ·‖Δ‖² = SNR·γ/(SNR + γ)·‖Δx_0‖²: min_snr without its corner.
// Crowson et al., "Scalable High-Resolution Pixel-Space Image Synthesis with Hourglass Diffusion Transformers", 2024,
// section 4.2, where γ = 4.
#include <cmath>

#include <dtk/weighting.hpp>

namespace {
struct SoftMinSnr final : dtk::Weighting {
    struct Config {
        double gamma = 4;
        void fields(dtk::Fields& f) { f("gamma", gamma, dtk::above(0), "γ, the weight that it goes to"); }
    } c;
    explicit SoftMinSnr(const Config& config) : c(config) {}
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        return 1 / ((std::exp(-level.log_snr) + 1 / c.gamma) * per_x0);
    }
};
}  // namespace

DTK_PLUGIN(Weighting, soft_min_snr, SoftMinSnr, "the error of x_0 counts SNR·γ/(SNR + γ) (Crowson et al. 2024)")
