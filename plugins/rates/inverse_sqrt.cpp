// share(k) = 1/√max(k/hold, 1): constant for `hold` steps, then falling for ever, whatever the number of steps
// Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2), 2024, eq. 67; with hold
// the warm-up, Vaswani et al. 2017.
#include <algorithm>
#include <cmath>

#include <dtk/rate.hpp>

namespace {
struct InverseSqrt final : dtk::Rate {
    struct Config {
        std::int64_t hold = 1000;
        void fields(dtk::Fields& f) { f("hold", hold, dtk::at_least(1), "steps before it falls"); }
    } c;
    explicit InverseSqrt(const Config& config) : c(config) {}
    double share(std::int64_t step, std::int64_t) const override {
        return 1 / std::sqrt(std::max(static_cast<double>(step) / static_cast<double>(c.hold), 1.0));
    }
};
}  // namespace

DTK_PLUGIN(Rate, inverse_sqrt, InverseSqrt,
           "constant, then falling with the square root of the step (EDM2, Karras et al. 2024)")
