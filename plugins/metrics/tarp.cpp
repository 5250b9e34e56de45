// Coverage of balls around random points: of the samples for the y of x*, the share u that is nearer than x* to a point
// drawn from the data, is uniform if they are those of p(x | y). The value is the largest distance of its distribution
// to the uniform one over G groups, Kolmogorov's, which looks at all elements together:
//   sup_c |share of groups with u < c  −  c|
// Lemos, Coogan, Hezaveh & Perreault-Levasseur, "Sampling-Based Accuracy Testing of Posterior Estimators for General
// Inference" (TARP), 2023. Of true samples it has Kolmogorov's law, here as for many groups, which is a little wide for
// few. p(x), which ignores y, passes too; and since the points lie on all sides, a shift shows as too little spread, a
// small one hardly: see `sbc`.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include <dtk/calibration.hpp>

namespace {

using at::Tensor;

constexpr double passing_quantile = 0.999;

struct Tarp final : dtk::Metric {
    explicit Tarp(const dtk::BuildContext& context) { dtk::needs_draws(context, "tarp"); }

    dtk::MetricCard card() const override { return {dtk::Better::less}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto [samples, truth] = dtk::sample_groups(input);
        const auto groups = truth.size(0);
        if (groups < 2)
            throw dtk::Error("tarp needs samples for two y or more",
                             "raise n of [sample], or lower `draws` of [observation]");

        // How far all are from a point that knows nothing of x*.
        const auto endless = std::int64_t{1} << 31;
        const auto drawn =
            random.stream("points").integers(input.data.size() > 0 ? input.data.size() : endless, {groups});
        const auto point = input.data.examples(drawn).x.flatten(1).to(at::kDouble);
        const auto to_samples = (samples - point.unsqueeze(1)).norm(2, 2, /*keepdim=*/true),
                   to_truth = (truth - point).norm(2, 1, /*keepdim=*/true);
        const auto u = dtk::relative_ranks(to_samples, to_truth, random.stream("ranks")).flatten();

        const auto sorted = std::get<0>(u.sort()), n = at::arange(groups, at::kDouble);
        const double total = static_cast<double>(groups);
        const double distance = at::maximum(sorted - n / total, (n + 1) / total - sorted).max().item<double>();
        const auto coverage = [&](double c) { return (u < c).to(at::kDouble).mean().item<double>(); };
        // Kolmogorov's law: mean √(π/2) ln 2, mean square π²/12, P(√G D > k) = 2 e^{−2k²} far out.
        const double pi = std::numbers::pi, mean = std::sqrt(pi / 2) * std::numbers::ln2, root = std::sqrt(total);
        return {.value = distance,
                .expected = mean / root,
                .expected_sd = std::sqrt(pi * pi / 12 - mean * mean) / root,
                .limit = std::sqrt(std::log(2 / (1 - passing_quantile)) / 2) / root,
                .parts = {{"covered by 10 %", coverage(0.1)},
                          {"covered by 50 %", coverage(0.5)},
                          {"covered by 90 %", coverage(0.9)}},
                .note = fmt::format("largest error of the coverage over {} groups", groups)};
    }
};
}  // namespace

DTK_PLUGIN(Metric, tarp, Tarp, "do credible regions hold test examples as often as they should? (Lemos et al. 2023)")
