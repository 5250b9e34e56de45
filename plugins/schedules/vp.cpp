// ln ᾱ(u) = −(½ (β_max − β_min) u² + β_min u): the variance-preserving SDE, the limit of the linear β of Ho et al.
// Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole, "Score-Based Generative Modeling through SDEs", 2021, eq. 33.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Vp final : dtk::ContinuousSchedule {
    struct Config {
        double beta_min = 0.1, beta_max = 20;
        void fields(dtk::Fields& f) {
            f("beta_min", beta_min, dtk::at_least(0), "rate of noise at the clean end, per unit of u");
            f("beta_max", beta_max, dtk::above(0), "rate of noise at the noisy end");
        }
    } c;
    explicit Vp(const Config& config) : c(config) {
        if (!(c.beta_min < c.beta_max)) throw dtk::Error("`beta_min` must be smaller than `beta_max`", "swap them");
    }

    dtk::NoiseLevel level(double u) const override {
        const double spent = 0.5 * (c.beta_max - c.beta_min) * u * u + c.beta_min * u;  // −ln ᾱ
        return {std::exp(-spent / 2), std::sqrt(-std::expm1(-spent)), -std::log(std::expm1(spent))};
    }
};
}  // namespace

DTK_PLUGIN(Schedule, vp, Vp, "the variance-preserving SDE (Song et al. 2021); elsewhere: vpsde, vp_sde")
