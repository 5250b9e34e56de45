// Paths between data and noise, x = α x_0 + σ ε:
//   linear:         α = 1 − u,        σ = u
//   trigonometric:  α = cos(πu/2),    σ = sin(πu/2)        variance preserving
//   polynomial:     α = 1 − uⁿ,       σ = uⁿ
// Albergo, Boffi & Vanden-Eijnden, "Stochastic Interpolants", 2023, table 4; Ma et al., "SiT", 2024, eq. 2.
#include <cmath>
#include <numbers>
#include <string>

#include <dtk/schedule.hpp>

namespace {
struct Interpolant final : dtk::ContinuousSchedule {
    struct Config {
        std::string path = "trigonometric";
        double power = 2;
        void fields(dtk::Fields& f) {
            f("path", path, {"linear", "trigonometric", "polynomial"}, "from data to noise");
            f("power", power, dtk::above(0), "n of the polynomial path");
        }
    } c;
    explicit Interpolant(const Config& config) : c(config) {}

    dtk::NoiseLevel level(double u) const override {
        if (c.path == "trigonometric") {
            const double angle = std::numbers::pi / 2 * u;
            return dtk::noise_level(u == 1 ? 0 : std::cos(angle), std::sin(angle));
        }
        const double mixed = c.path == "linear" ? u : std::pow(u, c.power);
        return dtk::noise_level(1 - mixed, mixed);
    }
};
}  // namespace

DTK_PLUGIN(Schedule, interpolant, Interpolant,
           "linear, trigonometric or polynomial paths (Albergo et al. 2023); elsewhere: gvp, trigonometric")
