// Is never done with being loaded.
#include <chrono>
#include <thread>

#include <dtk/schedule.hpp>

namespace {
[[maybe_unused]] const int at_load = (std::this_thread::sleep_for(std::chrono::hours(1)), 0);

struct Hangs final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

DTK_PLUGIN(Schedule, hangs, Hangs, "takes for ever")
