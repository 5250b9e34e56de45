// α = 1 − u',   σ = u',   u' = s·u/(1 + (s − 1)·u): the straight path of rectified flow, shifted to more noise by s.
// Liu, Gong & Liu, "Flow Straight and Fast", 2022; Lipman et al., "Flow Matching for Generative Modeling", 2022; the
// shift: Esser et al., "Scaling Rectified Flow Transformers" (Stable Diffusion 3), 2024, eq. 23.
#include <dtk/schedule.hpp>

namespace {
struct Flow final : dtk::ContinuousSchedule {
    struct Config {
        double shift = 1;
        void fields(dtk::Fields& f) {
            f("shift", shift, dtk::above(0),
              "s; √(pixels/pixels of the base size) keeps the loss of detail of larger images");
        }
    } c;
    explicit Flow(const Config& config) : c(config) {}

    dtk::NoiseLevel level(double u) const override {
        const double below = 1 + (c.shift - 1) * u;
        return dtk::noise_level((1 - u) / below, c.shift * u / below);
    }
};
}  // namespace

DTK_PLUGIN(Schedule, flow, Flow,
           "the straight path of rectified flow and flow matching, α = 1 − u and σ = u; elsewhere: rectified_flow, "
           "rectified, cond_ot, condot, flow_matching")
