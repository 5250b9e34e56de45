// log SNR(u) = −2·log tan(a + u·(b − a)),   a = atan e^{−λ_max/2},   b = atan e^{−λ_min/2}
// The cosine schedule in continuous time, cut at both ends: Salimans & Ho, "Progressive Distillation for Fast Sampling
// of Diffusion Models", 2022; the cut as in Hoogeboom et al., "simple diffusion", 2023.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct CosineLogSnr final : dtk::ContinuousSchedule {
    struct Config {
        double log_snr_max = 15, log_snr_min = -15, shift = 0;
        void fields(dtk::Fields& f) {
            f("log_snr_max", log_snr_max, dtk::in(-40, 40), "log(α²/σ²) at the clean end");
            f("log_snr_min", log_snr_min, dtk::in(-40, 40), "log(α²/σ²) at the noisy end");
            f("shift", shift, dtk::in(-20, 20), "added to log SNR: 2·log(64/side) for images larger than 64");
        }
    } c;
    explicit CosineLogSnr(const Config& config) : c(config) {
        if (!(c.log_snr_min < c.log_snr_max))
            throw dtk::Error("`log_snr_min` must be smaller than `log_snr_max`", "swap them");
    }

    dtk::NoiseLevel level(double u) const override {
        const double a = std::atan(std::exp(-c.log_snr_max / 2)), b = std::atan(std::exp(-c.log_snr_min / 2));
        return dtk::variance_preserving(-2 * std::log(std::tan(a + u * (b - a))) + c.shift);
    }
};
}  // namespace

DTK_PLUGIN(Schedule, cosine_log_snr, CosineLogSnr,
           "continuous cosine in log-SNR, cut at both ends (Salimans & Ho 2022)")
