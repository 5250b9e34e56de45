// log SNR(u) = μ − b·sgn(½ − u)·ln(1 − 2·|u − ½|) with the sign that lets it fall: log-SNR of uniform u has the Laplace
// density with mean μ and scale b, so that training sees the middle noise levels most. The logarithm is cut at `floor`.
// Hang et al., "Improved Noise Schedule for Diffusion Training", 2024, table 1.
#include <algorithm>
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Laplace final : dtk::ContinuousSchedule {
    struct Config {
        double mu = 0, b = 0.5, floor = 1e-6;
        void fields(dtk::Fields& f) {
            f("mu", mu, dtk::in(-40, 40), "mean of log-SNR");
            f("b", b, dtk::above(0), "scale of log-SNR");
            f("floor", floor, dtk::inside(0, 0.1), "share of u at the two ends over which the density is cut");
        }
    } c;
    explicit Laplace(const Config& config) : c(config) {}

    dtk::NoiseLevel level(double u) const override {
        const double inside = c.floor + (1 - 2 * c.floor) * u, away = 1 - 2 * std::abs(inside - 0.5);
        return dtk::variance_preserving(c.mu + (inside > 0.5 ? 1 : -1) * c.b * std::log(away));
    }
};
}  // namespace

DTK_PLUGIN(Schedule, laplace, Laplace, "log-SNR has a Laplace density (Hang et al. 2024)")
