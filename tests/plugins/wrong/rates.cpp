// Learning rates that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>
#include <numbers>

#include <dtk/rate.hpp>

namespace {

/// 0/0 where there is one step.
struct NoStepBefore final : dtk::Rate {
    double share(std::int64_t step, std::int64_t steps) const override {
        return 1 - static_cast<double>(step) / static_cast<double>(steps - 1);
    }
};

/// A cosine of twice the amplitude.
struct TwiceAsHigh final : dtk::Rate {
    double share(std::int64_t step, std::int64_t steps) const override {
        return 1 + std::cos(std::numbers::pi * static_cast<double>(step) / static_cast<double>(steps));
    }
};

/// Counts by itself, so that a resumed training begins again.
struct Counts final : dtk::Rate {
    double share(std::int64_t, std::int64_t) const override { return 1 / std::sqrt(1 + static_cast<double>(asked_++)); }
    mutable std::int64_t asked_ = 0;
};

}  // namespace

DTK_PLUGIN(Rate, no_step_before, NoStepBefore,
           "the share of the learning rate is in [0, 1] at every step, and not always 0")
DTK_PLUGIN(Rate, twice_as_high, TwiceAsHigh,
           "the share of the learning rate is in [0, 1] at every step, and not always 0")
DTK_PLUGIN(Rate, counts, Counts, "the share is that of the step, whatever was asked before")
