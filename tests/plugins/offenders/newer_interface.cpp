// Built against a later minor version of its kind's interface than this dtk has.
#include <dtk/schedule.hpp>

namespace {
struct Newer final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override {
        return std::vector<double>(static_cast<std::size_t>(steps), 0.01);
    }
};
}  // namespace

#undef DTK_Schedule_VERSION
#define DTK_Schedule_VERSION 3_999
DTK_PLUGIN(Schedule, newer_interface, Newer, "a newer interface")
