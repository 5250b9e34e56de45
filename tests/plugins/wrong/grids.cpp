// Grids that do wrong on purpose; each names the law that it breaks as its summary.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <dtk/grid.hpp>
#include <dtk/schedule.hpp>

namespace {

/// A stride that is added up until −1 is passed: rounding makes one time more of many numbers of steps.
struct Strides final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        std::vector<double> t;
        const double T = static_cast<double>(levels.steps());
        for (double place = T; place > 0; place -= T / static_cast<double>(n)) t.push_back(std::round(place) - 1);
        return t;
    }
};

/// The sampler's own last time among them.
struct ToTheData final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        std::vector<double> t;
        for (std::int64_t i = 0; i < n; ++i)
            t.push_back(levels.last() - static_cast<double>(i) / static_cast<double>(std::max<std::int64_t>(n - 1, 1)) *
                                            static_cast<double>(levels.steps()));
        return t;
    }
};

/// From the data to the noise.
struct Rising final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        std::vector<double> t;
        for (std::int64_t i = 1; i <= n; ++i)
            t.push_back(static_cast<double>(i * levels.steps()) / static_cast<double>(n) - 1);
        return t;
    }
};

/// Of one step the first time, 0: the sum i·⌊T/N⌋ without the noisy end.
struct FromBelow final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        std::vector<double> t;
        const double part = 0.4 * static_cast<double>(levels.steps()) / static_cast<double>(n);
        for (auto i = n; i > 0; --i) t.push_back(static_cast<double>(i) * part - 1);
        return t;
    }
};

/// As dense as it was when it was asked first.
struct Remembering final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        if (power_ == 0) power_ = levels.is_variance_preserving() ? 1 : 2;
        std::vector<double> t;
        for (auto i = n; i > 0; --i)
            t.push_back(std::pow(static_cast<double>(i) / static_cast<double>(n), power_) *
                            static_cast<double>(levels.steps()) -
                        1);
        power_ = 3 - power_;
        return t;
    }
    mutable double power_ = 0;
};

}  // namespace

DTK_PLUGIN(Grid, strides, Strides, "it has exactly as many times as asked, or says why not")
DTK_PLUGIN(Grid, to_the_data, ToTheData, "its times fall, inside the process")
DTK_PLUGIN(Grid, rising, Rising, "its times fall, inside the process")
DTK_PLUGIN(Grid, from_below, FromBelow, "it begins where there is noise")
DTK_PLUGIN(Grid, remembering, Remembering, "asked twice, it answers the same")
