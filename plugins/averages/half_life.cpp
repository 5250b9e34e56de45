// keep(k) = ½^{1/min(h, r·k)}: an exponential average with a half-life of h steps, or of a share r of the training so
// far. Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, in their code.
#include <algorithm>
#include <cmath>

#include <dtk/optimizer.hpp>

namespace {
struct HalfLife final : dtk::Average {
    struct Config {
        double steps = 1000, ramp = 0.05;
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::above(0), "h, steps after which half of the average is new");
            f("ramp", ramp, dtk::above(0), "r, the longest half-life as a share of the steps so far");
        }
    } c;
    explicit HalfLife(const Config& config) : c(config) {}
    double keep(std::int64_t step) const override {
        const double life = std::min(c.steps, c.ramp * static_cast<double>(step));
        return life > 0 ? std::exp2(-1 / life) : 0;
    }
};
}  // namespace

DTK_PLUGIN(Average, half_life, HalfLife, "exponential average by its half-life (Karras et al. 2022)")
