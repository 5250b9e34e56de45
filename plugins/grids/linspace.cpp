// t_i = round(i·(T−1)/(N−1)), both ends visited.
#include <cmath>

#include <dtk/grid.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Linspace final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        const double last = static_cast<double>(levels.steps() - 1);
        std::vector<double> t;
        for (std::int64_t i = n - 1; i >= 0; --i) t.push_back(n > 1 ? std::nearbyint(i * last / (n - 1)) : last);
        return t;
    }
};
}  // namespace

DTK_PLUGIN(Grid, linspace, Linspace, "evenly spaced from T−1 to 0, both visited")
