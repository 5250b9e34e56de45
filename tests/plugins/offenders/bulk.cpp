// A plugin as it should be, to be copied many times: in the hash of symbol names "ab" and "bA" are the same, so each
// pair of letters in a copy may be changed and the symbol is still found.
#include <dtk/schedule.hpp>

namespace {
struct Bulk final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override { return std::vector<double>(steps, 0.01); }
};
}  // namespace

DTK_PLUGIN(Schedule, abababababababababab, Bulk, "one of a thousand")
