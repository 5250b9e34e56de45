// Noise of rotations, with α = 1:
//   quadratic:    σ(u) = σ_min + (σ_max − σ_min) (3u + u²)/4      Watson et al., "RFdiffusion", 2023: 0.02 + 1.5 u +
//   0.5 u² logarithmic:  σ(u) = log(u e^{σ_max} + (1 − u) e^{σ_min})     Yim et al., "FrameDiff", 2023, there from 0.1
//   to 1.5
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Rotation final : dtk::ContinuousSchedule {
    struct Config {
        double sigma_min = 0.02, sigma_max = 2.02;
        std::string growth = "quadratic";
        void fields(dtk::Fields& f) {
            f("sigma_min", sigma_min, dtk::above(0), "before the first step, in radians");
            f("sigma_max", sigma_max, dtk::above(0), "of the last step; from 2 on the law is nearly uniform");
            f("growth", growth, {"quadratic", "logarithmic"}, "between the two, as RFdiffusion or as FrameDiff");
        }
    } c;
    explicit Rotation(const Config& config) : c(config) {
        if (!(c.sigma_min < c.sigma_max)) throw dtk::Error("`sigma_min` must be smaller than `sigma_max`", "swap them");
    }

    dtk::NoiseLevel level(double u) const override { return dtk::noise_level(1, sigma(u)); }

 private:
    double sigma(double u) const {
        const double range = c.sigma_max - c.sigma_min;
        if (c.growth == "quadratic") return c.sigma_min + range * (3 * u + u * u) / 4;
        return c.sigma_min + std::log1p(u * std::expm1(range));
    }
};
}  // namespace

DTK_PLUGIN(Schedule, rotation, Rotation, "σ of rotations, as RFdiffusion or FrameDiff have it")
