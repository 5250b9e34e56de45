// share(k) = 1 + (least − 1)·k/steps
#include <dtk/rate.hpp>

namespace {
struct Linear final : dtk::Rate {
    struct Config {
        double least = 0;
        void fields(dtk::Fields& f) { f("least", least, dtk::in(0, 1), "share of the learning rate at the last step"); }
    } c;
    explicit Linear(const Config& config) : c(config) {}
    double share(std::int64_t step, std::int64_t steps) const override {
        return 1 + (c.least - 1) * static_cast<double>(step) / static_cast<double>(steps);
    }
};
}  // namespace

DTK_PLUGIN(Rate, linear, Linear, "falls linearly")
