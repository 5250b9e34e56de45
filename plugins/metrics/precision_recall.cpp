// Improved precision and recall (Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
// Models", 2019): a set covers the balls around its members that reach to the k-th nearest other member. Precision is
// the share of the samples that true examples cover, recall the share of true examples that the samples cover. The
// value is what lacks of their harmonic mean, 1 − 2 p r/(p + r); as true sets do not cover each other either, it stands
// beside what they give.
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>
#include <dtk/remembered.hpp>

namespace {

using at::Tensor;

/// The share of rows of y that x covers.
double covered(const Tensor& y, const Tensor& x, const Tensor& reach_of_x) {
    std::int64_t within = 0;
    dtk::squared_distances(
        y, x, [&](std::int64_t, const Tensor& d2) { within += (d2 <= reach_of_x).any(1).sum().item<std::int64_t>(); });
    return static_cast<double>(within) / static_cast<double>(y.size(0));
}

struct Covers {
    double precision, recall;
    double lacks() const { return precision + recall == 0 ? 1 : 1 - 2 * precision * recall / (precision + recall); }
};

struct PrecisionRecall final : dtk::SetMetric {
    struct Config : dtk::SetMetric::Config {
        std::int64_t k = 3, most = 5000;
        void fields(dtk::Fields& f) {
            dtk::SetMetric::Config::fields(f);
            f("k", k, dtk::at_least(1), "balls reach to the k-th nearest");
            f("most", most, dtk::in(10, 100'000), "samples that are looked at; time grows with the square");
        }
    } c;

    PrecisionRecall(const Config& config, const dtk::BuildContext& context)
        : SetMetric(config, context, fmt::format("precision_recall with k = {}", config.k), config.k + 1,
                    "make `k` smaller"),
          c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input, c.most);
        const auto compare = [&](const Tensor& samples, const Tensor& truth) {
            const auto x = features()(samples, input.device), y = features()(truth, input.device);
            return Covers{covered(x, y, dtk::squared_reach(y, c.k)), covered(y, x, dtk::squared_reach(x, c.k))};
        };
        const auto found = compare(dtk::evenly_among(input.samples, n), dtk::true_set(input.data, 0, n, random));
        const auto floor = dtk::remembered(fmt::format("floor of {}", n), [&]() -> std::vector<double> {
            const auto [mean, sd] =
                dtk::between_true_sets(input.data, c.repeats, n, random,
                                       [&](const Tensor& x, const Tensor& y) { return compare(x, y).lacks(); });
            return {mean, sd};
        });
        return {
            .value = found.lacks(),
            .expected = floor[0],
            .expected_sd = floor[1],
            .parts = {{"precision", found.precision}, {"recall", found.recall}},
            .note = fmt::format("1 − F1 of precision and recall, {} samples, k = {}, {}", n, c.k, features().text()),
            .n = n,
            .split = "test",
            .features = features().card()};
    }
};
}  // namespace

DTK_PLUGIN(Metric, precision_recall, PrecisionRecall, "what lacks of precision and recall by nearest neighbours (2019)")
