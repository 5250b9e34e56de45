// Built, so it says, with other containers than dtk; its build id says nothing of that.
#include <dtk/build.hpp>
#undef DTK_CONTAINERS
#define DTK_CONTAINERS "debug"
#include <dtk/schedule.hpp>

namespace {
struct WrongText final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

DTK_PLUGIN(Schedule, wrong_text, WrongText, "built otherwise, seen after it is loaded")
