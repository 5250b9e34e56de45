// Grids that are spaced in σ/α.
#include <dtk/ratio_grid.hpp>

#include <cmath>

#include <fmt/format.h>

namespace dtk {

RatioGrid::~RatioGrid() = default;

void RatioGrid::Config::fields(Fields& f) {
    f("sigma_min", sigma_min, at_least(0), "σ/α of the last point; 0: of the schedule's first step");
    f("sigma_max", sigma_max, at_least(0), "σ/α that it begins at; 0: of the schedule's last step");
}

std::vector<double> RatioGrid::times(const NoiseLevels& levels, std::int64_t n) const {
    const double first = levels.ratio(levels.first()), last = levels.ratio(levels.last());
    const double least = config_.sigma_min > 0 ? config_.sigma_min : first;
    const double most = config_.sigma_max > 0 ? config_.sigma_max : last;
    if (!std::isfinite(most))
        throw Error("the schedule ends without signal, at an infinite σ/α, and this grid is spaced in σ/α",
                    "name `sigma_max`, such as 80");
    if (!(least < most))
        throw Error(fmt::format("`sigma_min` = {} is not smaller than `sigma_max` = {}", least, most), "swap them");
    if (most > last * (1 + 1e-9))
        throw Error(fmt::format("`sigma_max` = {} is more than the schedule's σ/α ever is, {}", most, last),
                    fmt::format("use at most {}, or another schedule", last));
    std::vector<double> t;
    for (std::int64_t i = 0; i < n; ++i) {
        const double along = n > 1 ? static_cast<double>(i) / static_cast<double>(n - 1) : 0;
        t.push_back(levels.time_of_ratio(ratio(least, most, along)));
    }
    return t;
}

}  // namespace dtk
