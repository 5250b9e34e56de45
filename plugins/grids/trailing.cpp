// t_i = round(T − i·T/N) − 1, i = 0 … N−1: the noisy end is visited.
// Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2023, table 2.
#include <cmath>

#include <dtk/grid.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Trailing final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        const double T = static_cast<double>(levels.steps());
        std::vector<double> t;
        for (std::int64_t i = 0; i < n; ++i) t.push_back(std::nearbyint(T - i * T / n) - 1);
        return t;
    }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Grid, trailing, Trailing, "evenly spaced down from T−1, 0 not visited (Lin et al. 2023)")
