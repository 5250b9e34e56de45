// β_t = β_max · ((t+1)/T)^power
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct MySchedule final : dtk::BetaSchedule {
    struct Config {
        double beta_max = 0.1, power = 2;
        void fields(dtk::Fields& f) {
            f("beta_max", beta_max, dtk::inside(0, 1), "noise of the last step");
            f("power", power, dtk::above(0), "how late the noise comes");
        }
    } c;
    explicit MySchedule(const Config& config) : c(config) {}

    std::vector<double> betas(std::int64_t steps) const override {
        std::vector<double> beta;
        for (std::int64_t t = 0; t < steps; ++t) beta.push_back(c.beta_max * std::pow((t + 1.0) / steps, c.power));
        return beta;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, my_schedule, MySchedule, "β rises with a power of the time")
