// Averages that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>

#include <dtk/optimizer.hpp>
#include <dtk/power_average.hpp>

namespace {

/// The warm-up upside down.
struct UpsideDown final : dtk::Average {
    double keep(std::int64_t step) const override {
        return static_cast<double>(10 + step) / static_cast<double>(1 + step);
    }
};

/// keep(k) = (1 − 1/(k + 1))^γ, where it is γ + 1.
struct LowPower final : dtk::Average {
    double keep(std::int64_t step) const override {
        return std::pow(1 - 1 / (static_cast<double>(step) + 1), *power());
    }
    std::optional<double> power() const override { return dtk::power_of_width(0.05); }
};

/// The warm-up by how often it was asked: a resumed training begins again.
struct OwnCount final : dtk::Average {
    double keep(std::int64_t) const override {
        const auto k = static_cast<double>(asked_++);
        return std::min(0.999, (1 + k) / (10 + k));
    }
    mutable std::int64_t asked_ = 0;
};

/// A decay for each image where it should be one for each step.
struct RemembersAll final : dtk::Average {
    double keep(std::int64_t) const override { return 1 - 1e-8; }
};

}  // namespace

DTK_PLUGIN(Average, upside_down, UpsideDown, "what is kept of the average is in [0, 1) at every step")
DTK_PLUGIN(Average, low_power, LowPower, "an average by a power of the time is what its power says")
DTK_PLUGIN(Average, own_count, OwnCount, "what is kept is that of the step, whatever was asked before")
DTK_PLUGIN(Average, remembers_all, RemembersAll,
           "it forgets where it started: the average of a constant comes to be the constant")
