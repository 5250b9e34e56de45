//! observation={use="my_observation", values=[0.5], sd=0.2}
//! guidance=[{use="dps"}]
// y = mean of x + sd·z: what is known beforehand of what is drawn.
#include <dtk/observation.hpp>

namespace {
struct MyObservation final : dtk::Observation {
    using Config = dtk::Observation::Config;  // values, example, sd
    MyObservation(const Config& config, const dtk::BuildContext& context) : Observation(config, context, /*size=*/1) {}

    // A(x), differentiable. x: [B, ...] → [B, 1]
    at::Tensor of(const at::Tensor& x) const override { return x.flatten(1).mean(1, /*keepdim=*/true); }
};
}  // namespace

DTK_PLUGIN(Observation, my_observation, MyObservation, "the mean of all elements")
