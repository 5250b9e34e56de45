// λ = 1: errors count alike at every noise level (L_simple of Ho et al. 2020, eq. 14).
#include <dtk/weighting.hpp>

namespace {
struct Uniform final : dtk::Weighting {
    double weight(const dtk::NoiseLevel&, double) const override { return 1; }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Weighting, uniform, Uniform, "the error counts alike at every noise level (Ho et al. 2020)")
