// log SNR(u) = λ_max − (λ_max − λ_min)·u: the fixed schedule that a learned one is compared with.
// Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, section 3.2 and appendix H.
#include <dtk/schedule.hpp>

namespace {
struct LogLinear final : dtk::ContinuousSchedule {
    struct Config {
        double log_snr_max = 13.3, log_snr_min = -5;
        void fields(dtk::Fields& f) {
            f("log_snr_max", log_snr_max, dtk::in(-40, 40), "log(α²/σ²) at the clean end");
            f("log_snr_min", log_snr_min, dtk::in(-40, 40), "log(α²/σ²) at the noisy end");
        }
    } c;
    explicit LogLinear(const Config& config) : c(config) {
        if (!(c.log_snr_min < c.log_snr_max))
            throw dtk::Error("`log_snr_min` must be smaller than `log_snr_max`", "swap them");
    }

    dtk::NoiseLevel level(double u) const override {
        return dtk::variance_preserving(c.log_snr_max + (c.log_snr_min - c.log_snr_max) * u);
    }
};
}  // namespace

DTK_PLUGIN(Schedule, log_linear, LogLinear,
           "log-SNR falls linearly (Kingma et al. 2021); elsewhere: linear_log_snr")
