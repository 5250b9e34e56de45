// The Fréchet distance between the Gaussians with the means and covariances of the samples and of as many true
// examples (dtk/features.hpp; Dowson & Landau 1982), here in pixels or in what a classifier trained by dtk makes of an
// image: its figures compare with those of the same classifier alone. As finite sets have d² > 0, it stands beside what
// sets of true examples give.
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

struct Frechet final : dtk::SetMetric {
    using Config = dtk::SetMetric::Config;

    Frechet(const Config& config, const dtk::BuildContext& context) : SetMetric(config, context, "frechet", 2) {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "squared distance"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input);
        auto result = held_against_truth(input, n, random, dtk::frechet_distance);
        result.note =
            fmt::format("Fréchet distance, squared, of {} samples to as many true ones, {}", n, features().text());
        if (const auto d = features()(input.samples.slice(0, 0, 1), input.device).size(1); n < d)
            result.note += fmt::format(
                ", fewer than their {} dimensions: it tells more of n than of the samples; see kid and "
                "frechet_infinity",
                d);
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, frechet, Frechet, "Fréchet distance to true examples, in pixels or in a classifier's features")
