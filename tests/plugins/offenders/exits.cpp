// Ends the whole program while it is loaded.
#include <cstdlib>

#include <dtk/schedule.hpp>

namespace {
[[maybe_unused]] const int at_load = (std::_Exit(7), 0);

struct Exits final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

DTK_PLUGIN(Schedule, exits, Exits, "ends the program")
