// Throws what is no exception.
#include <dtk/schedule.hpp>

namespace {
struct ThrowsANumber final : dtk::BetaSchedule {
    ThrowsANumber() { throw 42; }
    std::vector<double> betas(std::int64_t) const override { return {}; }
};
}  // namespace

DTK_PLUGIN(Schedule, throws_a_number, ThrowsANumber, "has a strange fault")
