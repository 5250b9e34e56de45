// Refuses, as a plugin should, what its user wrote.
#include <dtk/schedule.hpp>

namespace {
struct ThrowsError final : dtk::BetaSchedule {
    ThrowsError() { throw dtk::Error("these fields do not go together", "change one of them"); }
    std::vector<double> betas(std::int64_t) const override { return {}; }
};
}  // namespace

DTK_PLUGIN(Schedule, throws_error, ThrowsError, "refuses what its user wrote")
