// α = 1,   σ(u) = σ_min (σ_max/σ_min)^u: the variance-exploding SDE.
// Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole, "Score-Based Generative Modeling through SDEs", 2021, eq. 31.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Ve final : dtk::ContinuousSchedule {
    struct Config {
        double sigma_min = 0.02, sigma_max = 100;
        void fields(dtk::Fields& f) {
            f("sigma_min", sigma_min, dtk::above(0), "noise at the clean end, in units of the data");
            f("sigma_max", sigma_max, dtk::above(0), "noise at the noisy end");
        }
    } c;
    explicit Ve(const Config& config) : c(config) {
        if (!(c.sigma_min < c.sigma_max)) throw dtk::Error("`sigma_min` must be smaller than `sigma_max`", "swap them");
    }

    dtk::NoiseLevel level(double u) const override {
        return dtk::noise_level(1, c.sigma_min * std::pow(c.sigma_max / c.sigma_min, u));
    }
};
}  // namespace

DTK_PLUGIN(Schedule, ve, Ve,
           "the variance-exploding SDE, α = 1 and log σ linear (Song et al. 2021); elsewhere: vesde, ve_sde")
