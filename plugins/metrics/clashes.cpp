// Pairs of Cα three residues or more apart that are nearer than 4 Å, in the mean of a chain. Real chains have 0.3 of 50
// … 128 residues, and as good as none below 3 Å.
#include <fmt/format.h>

#include <dtk/chain_metric.hpp>

namespace {
struct Clashes final : dtk::ChainMetric {
    struct Config : dtk::ChainMetric::Config {
        double distance = 4;
        void fields(dtk::Fields& f) {
            dtk::ChainMetric::Config::fields(f);
            f("distance", distance, dtk::above(0).measured_in("ångström"), "nearer ones clash");
        }
    } c;
    Clashes(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "clashes"), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "pairs per chain"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        constexpr double near = 3;
        auto result = as_true_chains(input, random, [&](const at::Tensor& samples) -> Value {
            const auto [x, mask] = dtk::traces_of(samples);
            const auto apart = at::cdist(x, x, 2, /*compute_mode=*/2);  // by differences and not by products
            const auto pair = (mask.unsqueeze(1) * mask.unsqueeze(2)).triu(3);
            const auto nearer = [&](double than) { return (pair * (apart < than)).sum({1, 2}).mean().item<double>(); };
            return {nearer(c.distance), {{"nearer than 3 Å", nearer(near)}}};
        });
        result.note = fmt::format("pairs of Cα nearer than {} Å in the mean of a chain", c.distance);
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, clashes, Clashes, "pairs of Cα that are too near to each other")
