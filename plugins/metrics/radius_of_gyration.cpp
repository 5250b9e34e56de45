// How the sizes of chains are distributed: W_1 between R_g/(2.2·N^0.38 Å) of the samples and of held-out chains, R_g
// the root of the mean squared distance of Cα from their mean. Globular chains of N residues have about 1 (Skolnick,
// Kolinski & Ortiz 1997).
#include <dtk/chain_metric.hpp>

namespace {
struct RadiusOfGyration final : dtk::ChainMetric {
    RadiusOfGyration(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "radius_of_gyration") {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "of a globular chain"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto radius = [](const at::Tensor& samples) {
            const auto chains = dtk::traces_of(samples);
            const auto off = dtk::centred(chains.x, chains.mask).square().sum({1, 2});
            return std::pair((off / chains.lengths()).sqrt(), chains.lengths());
        };
        auto result = from_true_chains(input, random, 0, [&](const at::Tensor& a, const at::Tensor& b) -> Value {
            const auto [r, n] = radius(a);
            const auto [s, m] = radius(b);
            return {dtk::wasserstein_1(r / (2.2 * n.pow(0.38)), s / (2.2 * m.pow(0.38))),
                    {{"mean in Å", r.mean().item<double>()}, {"true mean in Å", s.mean().item<double>()}}};
        });
        result.note = "W1 of radii of gyration beside 2.2·N^0.38 Å to held-out chains";
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, radius_of_gyration, RadiusOfGyration, "how the sizes of chains differ from those of real ones")
