// σ_i = (σ_max^{1/ρ} + i/(n−1)·(σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ, i = 0 … n−1, σ the noise beside a signal of 1, σ_t/α_t
// Karras, Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, eq. 5.
#include <cmath>

#include <dtk/ratio_grid.hpp>

namespace {
struct Karras final : dtk::RatioGrid {
    struct Config : dtk::RatioGrid::Config {
        double rho = 7;
        void fields(dtk::Fields& f) {
            dtk::RatioGrid::Config::fields(f);
            f("rho", rho, dtk::above(0), "ρ: larger puts more steps near the data");
        }
    } c;
    explicit Karras(const Config& config) : RatioGrid(config), c(config) {}

    double ratio(double least, double most, double along) const override {
        const double a = std::pow(most, 1 / c.rho), b = std::pow(least, 1 / c.rho);
        return std::pow(a + along * (b - a), c.rho);
    }
};
}  // namespace

DTK_PLUGIN(Grid, karras, Karras, "evenly spaced in (σ/α)^{1/ρ} (Karras et al. 2022)")
