#pragma once
// What metrics of calibration share: samples in groups, each for the y that was measured of one x*. If the samples are
// those of p(x | y), x* is one more of them.
#include <dtk/metric.hpp>
#include <dtk/observation.hpp>

namespace dtk {

struct SampleGroups {
    Tensor samples;  ///< [G, L, d] float64
    Tensor truth;    ///< x*, [G, d] float64
};
/// The samples as they were drawn, L = draws() of the observation for each x*.
DTK_API SampleGroups sample_groups(const EvaluationInput& input);
/// Refuses an experiment whose samples are all for one y, on behalf of `who`.
DTK_API void needs_draws(const BuildContext& context, const char* who);
/// Where x* stands among its group in each quantity, in [0, 1): uniform where it is drawn as they are. Among equals,
/// and within the 1/(L + 1) that a rank leaves open, chance decides. samples: [G, L, q], truth: [G, q] → [G, q]
DTK_API Tensor relative_ranks(const Tensor& samples, const Tensor& truth, const Random& random);

}  // namespace dtk
