// log σ_i evenly spaced from σ_max to σ_min, σ the noise beside a signal of 1, σ_t/α_t
// The geometric sequence of Song & Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution", 2019.
#include <cmath>

#include <dtk/ratio_grid.hpp>

namespace {
struct Exponential final : dtk::RatioGrid {
    using RatioGrid::RatioGrid;
    double ratio(double least, double most, double along) const override {
        return most * std::pow(least / most, along);
    }
};
}  // namespace

DTK_PLUGIN(Grid, exponential, Exponential, "evenly spaced in log(σ/α)")
