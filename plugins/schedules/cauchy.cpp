// log SNR(u) = μ + γ·tan(½π (1 − 2u)): log-SNR of uniform u has the Cauchy density with median μ and scale γ, whose
// tails are heavier than those of `laplace`. u is kept `floor` away from both ends, where the tangent is infinite. Hang
// et al., "Improved Noise Schedule for Diffusion Training", 2024, table 1.
#include <cmath>
#include <numbers>

#include <dtk/schedule.hpp>

namespace {
struct Cauchy final : dtk::ContinuousSchedule {
    struct Config {
        double mu = 0, gamma = 1, floor = 0.02;
        void fields(dtk::Fields& f) {
            f("mu", mu, dtk::in(-40, 40), "median of log-SNR");
            f("gamma", gamma, dtk::above(0), "scale of log-SNR");
            f("floor", floor, dtk::inside(0, 0.5), "share of u at each end over which the density is cut");
        }
    } c;
    explicit Cauchy(const Config& config) : c(config) {}

    dtk::NoiseLevel level(double u) const override {
        const double inside = c.floor + (1 - 2 * c.floor) * u;
        return dtk::variance_preserving(c.mu + c.gamma * std::tan(std::numbers::pi / 2 * (1 - 2 * inside)));
    }
};
}  // namespace

DTK_PLUGIN(Schedule, cauchy, Cauchy, "log-SNR has a Cauchy density (Hang et al. 2024)")
