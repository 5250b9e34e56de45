// Throws while it is loaded, where nobody can catch it.
#include <stdexcept>

#include <dtk/schedule.hpp>

namespace {
int throw_at_load() { throw std::runtime_error("too early"); }
[[maybe_unused]] const int at_load = throw_at_load();

struct ThrowsAtLoad final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

DTK_PLUGIN(Schedule, throws_at_load, ThrowsAtLoad, "throws too early")
