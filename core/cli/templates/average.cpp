//! average=[{use="my_average"}]
// keep(k) = k/(k + 1) up to `most`: the plain mean of all steps, then one that forgets.
#include <algorithm>

#include <dtk/optimizer.hpp>

namespace {
struct MyAverage final : dtk::Average {
    struct Config {
        double most = 0.99;
        void fields(dtk::Fields& f) { f("most", most, dtk::in(0, 1), "the share of the old average at the end"); }
    } c;
    explicit MyAverage(const Config& config) : c(config) {}

    double keep(std::int64_t step) const override {
        return std::min(c.most, static_cast<double>(step) / static_cast<double>(step + 1));
    }
};
}  // namespace

DTK_PLUGIN(Average, my_average, MyAverage, "a mean of the parameters that begins as that of all steps")
