// With the balls around n true examples y that reach to their k-th nearest other one:
//   density  = mean over n samples x of (balls that hold x)/k,   1 of true samples, less of what lies away
//   coverage = share of the balls that hold a sample,            the value
// Naeem, Oh, Uh, Choi & Yoo, "Reliable Fidelity and Diversity Metrics for Generative Models", 2020, eqs. 3 and 4. Of
// true samples the coverage is 1 − (n−1)⋯(n−k)/((2n−1)⋯(2n−k)) in the mean, whatever their law (lemma 2 there).
#include <algorithm>

#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

struct Found {
    double density, coverage;
};

Found found_in(const Tensor& samples, const Tensor& truth, std::int64_t k) {
    const auto reach = dtk::squared_reach(truth, k).unsqueeze(1);
    double held = 0, covered = 0;
    dtk::squared_distances(truth, samples, [&](std::int64_t first, const Tensor& d2) {
        const auto within = d2 <= reach.slice(0, first, first + d2.size(0));
        held += within.sum().item<double>();
        covered += within.any(1).sum().item<double>();
    });
    const auto n = static_cast<double>(truth.size(0)), m = static_cast<double>(samples.size(0));
    return {held / (static_cast<double>(k) * m), covered / n};
}

struct DensityCoverage final : dtk::SetMetric {
    struct Config : dtk::SetMetric::Config {
        std::int64_t k = 5, most = 5000;
        void fields(dtk::Fields& f) {
            dtk::SetMetric::Config::fields(f);
            f("k", k, dtk::at_least(1), "balls reach to the k-th nearest");
            f("most", most, dtk::in(10, 100'000), "samples that are looked at; time grows with the square");
        }
    } c;

    DensityCoverage(const Config& config, const dtk::BuildContext& context)
        : SetMetric(config, context, fmt::format("density_coverage with k = {}", config.k), config.k + 1,
                    "make `k` smaller"),
          c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::more, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input, c.most);
        // What is not covered is the less, the nearer.
        std::vector<double> densities;
        auto result = held_against_truth(input, n, random, [&](const Tensor& x, const Tensor& y) {
            const auto found = found_in(x, y, c.k);
            densities.push_back(found.density);
            return 1 - found.coverage;
        });
        result.value = 1 - result.value;
        double missed = 1;
        for (std::int64_t i = 1; i <= c.k; ++i) missed *= static_cast<double>(n - i) / static_cast<double>(2 * n - i);
        result.expected = 1 - missed;
        for (auto& [name, value] : result.parts)
            if (name == "to training examples") value = 1 - value;
        result.parts.insert(result.parts.begin(), {"density", densities[static_cast<std::size_t>(c.repeats)]});
        result.note =
            fmt::format("share of {} true examples with a sample within reach, k = {}, {}", n, c.k, features().text());
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, density_coverage, DensityCoverage,
           "density and coverage by nearest neighbours of true examples (Naeem et al. 2020)")
