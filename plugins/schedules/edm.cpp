// α = 1,   σ(u) = σ_max u: noise is added at a constant rate of σ, and σ itself is the time.
// Karras, Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, section 3.
#include <dtk/schedule.hpp>

namespace {
struct Edm final : dtk::ContinuousSchedule {
    struct Config {
        double sigma_max = 80;
        void fields(dtk::Fields& f) {
            f("sigma_max", sigma_max, dtk::above(0), "noise at the noisy end, in units of the data");
        }
    } c;
    explicit Edm(const Config& config) : c(config) {}

    dtk::NoiseLevel level(double u) const override { return dtk::noise_level(1, c.sigma_max * u); }
};
}  // namespace

DTK_PLUGIN(Schedule, edm, Edm, "α = 1 and σ linear (Karras et al. 2022); with it the grid `karras`; elsewhere: karras")
