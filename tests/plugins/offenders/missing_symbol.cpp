// Calls a function that no library holds.
#include <dtk/schedule.hpp>

double of_nowhere(double u);

namespace {
struct MissingSymbol final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override {
        return std::vector<double>(steps, of_nowhere(0.01));
    }
};
}  // namespace

DTK_PLUGIN(Schedule, missing_symbol, MissingSymbol, "calls a function that no library holds")
