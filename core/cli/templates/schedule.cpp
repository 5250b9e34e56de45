//! process.schedule="my_schedule"
// ᾱ(u) = 1 − u^power, u = (t+1)/T: one line that says the formula, one that says whose it is.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct MySchedule final : dtk::BetaSchedule {
    struct Config {
        double power = 2;
        void fields(dtk::Fields& f) { f("power", power, dtk::above(0), "how late the noise comes"); }
    } c;
    explicit MySchedule(const Config& config) : c(config) {}

    // β_i = 1 − ᾱ_i/ᾱ_{i−1}, each in (0, 1]
    std::vector<double> betas(std::int64_t steps) const override {
        std::vector<double> betas;
        double before = 1;
        for (std::int64_t i = 1; i <= steps; ++i) {
            const double now = 1 - std::pow(static_cast<double>(i) / static_cast<double>(steps + 1), c.power);
            betas.push_back(1 - now / before);
            before = now;
        }
        return betas;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, my_schedule, MySchedule, "ᾱ falls with a power of the time")
