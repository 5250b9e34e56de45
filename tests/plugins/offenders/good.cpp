// A plugin as it should be.
#include <dtk/schedule.hpp>

namespace {
struct Good final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

DTK_PLUGIN(Schedule, good, Good, "nothing is wrong with it")
