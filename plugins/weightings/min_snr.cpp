// λ·‖Δ‖² = min(SNR, γ)·‖Δx_0‖²
// Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023, eq. 8; for v it is
// min(SNR, γ)/(SNR + 1).
#include <algorithm>
#include <cmath>

#include <dtk/weighting.hpp>

namespace {
struct MinSnr final : dtk::Weighting {
    struct Config {
        double gamma = 5;
        void fields(dtk::Fields& f) { f("gamma", gamma, dtk::above(0), "γ, the largest weight"); }
    } c;
    explicit MinSnr(const Config& config) : c(config) {}
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        return std::min(std::exp(level.log_snr), c.gamma) / per_x0;
    }
};
}  // namespace

DTK_PLUGIN(Weighting, min_snr, MinSnr, "the error of x_0 counts SNR, at most γ (Hang et al. 2023)")
