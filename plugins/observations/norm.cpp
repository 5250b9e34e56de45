// y = ‖x‖ + sd·z: how far x is from 0, and not in which direction. The one that is no matrix.
#include <dtk/observation.hpp>

namespace {
struct Norm final : dtk::Observation {
    using Config = dtk::Observation::Config;
    Norm(const Config& config, const dtk::BuildContext& context) : Observation(config, context, 1) {}

    at::Tensor of(const at::Tensor& x) const override { return at::linalg_vector_norm(x.flatten(1), 2, 1, true); }
    bool linear() const override { return false; }
};
}  // namespace

DTK_PLUGIN(Observation, norm, Norm, "the length of x")
