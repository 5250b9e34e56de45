// log σ_i = log σ_min + (1 − i/(n−1))^ρ (log σ_max − log σ_min), σ the noise beside a signal of 1, σ_t/α_t
// The polynomial in log σ of Crowson's k-diffusion; ρ = 1 is `exponential`.
#include <cmath>

#include <dtk/ratio_grid.hpp>

namespace {
struct Polyexponential final : dtk::RatioGrid {
    struct Config : dtk::RatioGrid::Config {
        double rho = 1;
        void fields(dtk::Fields& f) {
            dtk::RatioGrid::Config::fields(f);
            f("rho", rho, dtk::above(0), "ρ: larger than 1 puts more steps near the data");
        }
    } c;
    explicit Polyexponential(const Config& config) : RatioGrid(config), c(config) {}

    double ratio(double least, double most, double along) const override {
        return least * std::pow(most / least, std::pow(1 - along, c.rho));
    }
};
}  // namespace

DTK_PLUGIN(Grid, polyexponential, Polyexponential, "a power of the place in log(σ/α)")
