// σ_i = tan(i/(n−1)·atan σ_min + (1 − i/(n−1))·atan σ_max), σ the noise beside a signal of 1, σ_t/α_t
// Sabour, Fidler & Kreis, "Align Your Steps", 2024, eq. 14: the best spacing for Gaussian data of variance 1.
#include <cmath>

#include <dtk/ratio_grid.hpp>

namespace {
struct KlOptimal final : dtk::RatioGrid {
    using RatioGrid::RatioGrid;
    double ratio(double least, double most, double along) const override {
        return std::tan(along * std::atan(least) + (1 - along) * std::atan(most));
    }
};
}  // namespace

DTK_PLUGIN(Grid, kl_optimal, KlOptimal, "evenly spaced in atan(σ/α) (Sabour et al. 2024)")
