// Speaks an older version of its kind's interface: to be refused before anything of it runs.
#include <cstdlib>

#include <dtk/schedule.hpp>

namespace {
struct OldInterface final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

namespace {
[[maybe_unused]] const int at_load = (std::abort(), 0);
}

#undef DTK_Schedule_VERSION
#define DTK_Schedule_VERSION 2_0
DTK_PLUGIN(Schedule, old_interface, OldInterface, "an older interface")
