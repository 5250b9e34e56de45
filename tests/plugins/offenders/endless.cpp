// One that is never done with its levels, and one that wants more memory than there is.
#include <dtk/schedule.hpp>

namespace {
struct Endless final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t) const override {
        for (volatile int i = 0;; i = i + 1) {
        }
    }
};

struct Hungry final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override {
        std::vector<double> all;
        all.reserve(4'000'000'000);
        all.resize(static_cast<std::size_t>(steps), 0.01);
        return all;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, endless, Endless, "never done")
DTK_PLUGIN(Schedule, hungry, Hungry, "32 GB")
