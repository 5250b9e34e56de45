// log-SNR evenly spaced between the first and the last noise level, or between those that are named.
// Lu et al., "DPM-Solver", 2022, section 3.3 ("logSNR"); in σ/α it is `exponential`, in the field's other words.
#include <cmath>
#include <string>

#include <dtk/grid.hpp>

namespace {
struct UniformLogSnr final : dtk::Grid {
    struct Config {
        double log_snr_min = 0, log_snr_max = 0;
        void fields(dtk::Fields& f) {
            f("log_snr_min", log_snr_min, dtk::in(-100, 100),
              "log(α²/σ²) that it begins at; both 0: the schedule's ends");
            f("log_snr_max", log_snr_max, dtk::in(-100, 100), "log(α²/σ²) of its last time");
        }
    } c;
    explicit UniformLogSnr(const Config& config) : c(config) {}

    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        const bool named = c.log_snr_min != 0 || c.log_snr_max != 0;
        const double least = named ? c.log_snr_min : levels.log_snr(levels.last());
        const double most = named ? c.log_snr_max : levels.log_snr(levels.first());
        if (!std::isfinite(least))
            throw dtk::Error("the schedule ends without signal, at a log-SNR of −∞, which cannot be divided evenly",
                             "name `log_snr_min` and `log_snr_max`");
        if (!(least < most)) throw dtk::Error("`log_snr_min` must be smaller than `log_snr_max`", "swap them");
        if (const double end = levels.log_snr(levels.last()); least < end - 1e-9 * std::abs(end))
            throw dtk::Error("`log_snr_min` = " + std::to_string(least) +
                                 " is less than the schedule's log-SNR ever is, " + std::to_string(end),
                             "use at least that, or another schedule");
        if (n > 1 && !(levels.time(most) > -1))
            throw dtk::Error(
                "`log_snr_max` = " + std::to_string(most) + " is more than the schedule's log-SNR ever is",
                "use less, such as its log-SNR at the first step, " + std::to_string(levels.log_snr(levels.first())));
        std::vector<double> t;
        for (std::int64_t i = 0; i < n; ++i) {
            const double along = n > 1 ? static_cast<double>(i) / static_cast<double>(n - 1) : 0;
            t.push_back(levels.time(least + along * (most - least)));
        }
        return t;
    }
};
}  // namespace

DTK_PLUGIN(Grid, uniform_log_snr, UniformLogSnr, "evenly spaced in log-SNR (Lu et al. 2022)")
