//! rate="my_rate"
// share(k) = (1 − k/steps)^power of the learning rate.
#include <cmath>

#include <dtk/rate.hpp>

namespace {
struct MyRate final : dtk::Rate {
    struct Config {
        double power = 1;
        void fields(dtk::Fields& f) { f("power", power, dtk::above(0), "1: linear"); }
    } c;
    explicit MyRate(const Config& config) : c(config) {}

    double share(std::int64_t step, std::int64_t steps) const override {
        return std::pow(1 - static_cast<double>(step) / static_cast<double>(steps), c.power);
    }
};
}  // namespace

DTK_PLUGIN(Rate, my_rate, MyRate, "the learning rate falls with a power of what is left")
