// Aborts while it is loaded.
#include <cstdlib>

#include <dtk/schedule.hpp>

namespace {
[[maybe_unused]] const int at_load = (std::abort(), 0);

struct Aborts final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

DTK_PLUGIN(Schedule, aborts, Aborts, "aborts")
