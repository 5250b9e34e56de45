//! sampler.grid="my_grid"
// t_i = (T−1)·((i+1)/n)^power, i = n−1 … 0: which times a sampler visits.
#include <cmath>

#include <dtk/grid.hpp>
#include <dtk/schedule.hpp>

namespace {
struct MyGrid final : dtk::Grid {
    struct Config {
        double power = 1;
        void fields(dtk::Fields& f) { f("power", power, dtk::above(0), "1: evenly spaced; larger: nearer the data"); }
    } c;
    explicit MyGrid(const Config& config) : c(config) {}

    // n times that fall, the first T−1 at most and the last 0 at least; noise.time(log_snr) finds one by its noise.
    std::vector<double> times(const dtk::NoiseLevels& noise, std::int64_t n) const override {
        std::vector<double> t;
        for (std::int64_t i = n; i >= 1; --i)
            t.push_back(noise.last() * std::pow(static_cast<double>(i) / static_cast<double>(n), c.power));
        return t;
    }
};
}  // namespace

DTK_PLUGIN(Grid, my_grid, MyGrid, "a power of an evenly spaced number")
