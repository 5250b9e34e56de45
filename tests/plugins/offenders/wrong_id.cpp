// Built for another dtk: to be refused before anything of it runs.
#include <cstdlib>

#undef DTK_BASE_BUILD_ID
#define DTK_BASE_BUILD_ID b00000000
#include <dtk/schedule.hpp>

namespace {
struct WrongId final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

namespace {
[[maybe_unused]] const int at_load = (std::abort(), 0);
}

DTK_PLUGIN(Schedule, wrong_id, WrongId, "built otherwise, seen before it is loaded")
