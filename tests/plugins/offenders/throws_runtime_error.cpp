// Fails in a way that is its own fault.
#include <stdexcept>

#include <dtk/schedule.hpp>

namespace {
struct ThrowsRuntimeError final : dtk::BetaSchedule {
    ThrowsRuntimeError() { throw std::runtime_error("a bug"); }
    std::vector<double> betas(std::int64_t) const override { return {}; }
};
}  // namespace

DTK_PLUGIN(Schedule, throws_runtime_error, ThrowsRuntimeError, "has a fault")
