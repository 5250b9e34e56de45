// share(k) = least + (1 − least)·½ (1 + cos(π k/steps))
// Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, eq. 5, without restarts.
#include <cmath>
#include <numbers>

#include <dtk/rate.hpp>

namespace {
struct Cosine final : dtk::Rate {
    struct Config {
        double least = 0;
        void fields(dtk::Fields& f) { f("least", least, dtk::in(0, 1), "share of the learning rate at the last step"); }
    } c;
    explicit Cosine(const Config& config) : c(config) {}
    double share(std::int64_t step, std::int64_t steps) const override {
        const double along = static_cast<double>(step) / static_cast<double>(steps);
        return c.least + (1 - c.least) * 0.5 * (1 + std::cos(std::numbers::pi * along));
    }
};
}  // namespace

DTK_PLUGIN(Rate, cosine, Cosine, "falls like half a cosine (Loshchilov & Hutter 2017)")
