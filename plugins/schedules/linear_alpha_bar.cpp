// β_t = 1/(T − t + 1), t = 1 … T, so that ᾱ_t = 1 − t/T: each step erases as much of what was there at the start, and
// at the last nothing is left. Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
// 2015, section 2.4.1.
#include <dtk/schedule.hpp>

namespace {
struct LinearAlphaBar final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override {
        std::vector<double> betas;
        for (std::int64_t t = 1; t <= steps; ++t) betas.push_back(1 / static_cast<double>(steps - t + 1));
        return betas;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, linear_alpha_bar, LinearAlphaBar,
           "ᾱ falls linearly to 0, β = 1/(T − t + 1) (Sohl-Dickstein et al. 2015); elsewhere: jsd")
