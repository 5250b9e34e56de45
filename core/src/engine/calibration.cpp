// Samples in groups, and ranks in them.
#include <dtk/calibration.hpp>

#include <fmt/format.h>

namespace dtk {

SampleGroups sample_groups(const EvaluationInput& input) {
    const auto draws = input.observation->draws();
    const auto all = input.samples.flatten(1).to(at::kDouble);
    const auto groups = all.size(0) / draws;
    const auto samples = all.slice(0, 0, groups * draws).view({groups, draws, all.size(1)});
    return {samples, input.data.test_examples(at::arange(groups)).x.flatten(1).to(at::kDouble)};
}

void needs_draws(const BuildContext& context, const char* who) {
    if (observation(context, who).draws() == 0)
        throw Error(fmt::format("{} looks at many y with a few samples for each, and all samples are for one y", who),
                    "set draws = 50 in [observation], and n of [sample] to a few hundred times that");
}

Tensor relative_ranks(const Tensor& samples, const Tensor& truth, const Random& random) {
    const auto x = truth.unsqueeze(1);
    const auto below = (samples < x).sum(1).to(at::kDouble), equal = (samples == x).sum(1).to(at::kDouble);
    const auto u = random.uniform(truth.sizes(), truth.options());
    const auto rank = (below + u * (equal + 1)) / static_cast<double>(samples.size(1) + 1);
    return at::where(at::isfinite(samples).all(1), rank, NAN);
}

}  // namespace dtk
