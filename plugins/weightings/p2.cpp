// λ·‖Δ‖² = (k + SNR)^{−γ}·‖Δε‖²: less where only fine detail is left to remove.
// Choi et al., "Perception Prioritized Training of Diffusion Models", 2022, eq. 8, with k = 1 and γ = 1.
#include <cmath>

#include <dtk/weighting.hpp>

namespace {
struct P2 final : dtk::Weighting {
    struct Config {
        double k = 1, gamma = 1;
        void fields(dtk::Fields& f) {
            f("k", k, dtk::above(0), "added to SNR");
            f("gamma", gamma, dtk::at_least(0), "power; 0: the error of ε");
        }
    } c;
    explicit P2(const Config& config) : c(config) {}
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        const double snr = std::exp(level.log_snr);
        return snr * std::pow(c.k + snr, -c.gamma) / per_x0;
    }
};
}  // namespace

DTK_PLUGIN(Weighting, p2, P2, "the error of ε counts (k + SNR)^−γ (Choi et al. 2022)")
