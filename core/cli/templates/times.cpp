//! times="my_times"
// u = (t+1)/T has the density (1 + power)·u^power: how training draws the noise level of each example.
#include <cmath>

#include <dtk/drawn_times.hpp>

namespace {
struct MyTimes final : dtk::DensityTimes {
    struct Config : dtk::DensityTimes::Config {
        double power = 1;
        void fields(dtk::Fields& f) {
            f("power", power, dtk::at_least(0), "0: uniform; larger: more of the noisy end");
            dtk::DensityTimes::Config::fields(f);
        }
    } c;
    MyTimes(const Config& config, const dtk::BuildContext& context) : DensityTimes(config, context), c(config) {}

    double quantile(double r) const override { return std::pow(r, 1 / (1 + c.power)); }
    double density(double u) const override { return (1 + c.power) * std::pow(u, c.power); }
};
}  // namespace

DTK_PLUGIN(Times, my_times, MyTimes, "u has the density of a power")
