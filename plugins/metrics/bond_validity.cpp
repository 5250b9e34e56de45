// The share of neighbouring Cα whose distance is within 0.1 Å, on both sides, of the 3.802 Å that a trans peptide bond
// leaves. Of real chains it is 99.3 %; most of the others are cis, 2.7 … 3.2 Å. (Yim et al. 2023 test the upper side
// alone, which a collapsed chain passes.)
#include <dtk/chain_metric.hpp>

namespace {
struct BondValidity final : dtk::ChainMetric {
    struct Config : dtk::ChainMetric::Config {
        double reach = 0.1;
        void fields(dtk::Fields& f) {
            dtk::ChainMetric::Config::fields(f);
            f("reach", reach, dtk::above(0).measured_in("ångström"), "how far from 3.802 Å a distance may be");
        }
    } c;
    BondValidity(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "bond_validity"), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::more, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = as_true_chains(input, random, [&](const at::Tensor& samples) -> Value {
            const auto [x, mask] = dtk::traces_of(samples);
            const auto d = dtk::where_whole((x.slice(1, 1) - x.slice(1, 0, -1)).norm(2, -1), mask, 2);
            const auto share = [](const at::Tensor& holds) { return holds.to(at::kDouble).mean().item<double>(); };
            return {share((d - dtk::ideal::ca_ca).abs() < c.reach),
                    {{"mean", d.mean().item<double>()},
                     {"deviation", d.std(/*unbiased=*/false).item<double>()},
                     {"cis", share((d > 2.7).logical_and(d < 3.2))}}};
        });
        result.note = "share of neighbouring Cα that are bonded";
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, bond_validity, BondValidity, "share of neighbouring Cα at the distance of a peptide bond")
