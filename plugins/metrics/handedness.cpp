// The share of torsions of Cα in left-handed turns, −70° … −30°. A network that does not see reflections makes as many
// left-handed helices as right-handed ones. Beside it stand the residues in runs of four and more such torsions, which
// is a helix and next to never left-handed, and those in right-handed ones, 30° … 70°.
#include <dtk/chain_metric.hpp>

namespace {
struct Handedness final : dtk::ChainMetric {
    Handedness(const Config& config, const dtk::BuildContext& context) : ChainMetric(config, context, "handedness") {
        if (context.dataset().shape().front() < 4)
            throw dtk::Error("handedness needs chains of four residues", "use longer chains");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        constexpr std::int64_t turn = 4;
        auto result = as_true_chains(input, random, [&](const at::Tensor& samples) -> Value {
            const auto [x, mask] = dtk::traces_of(samples);
            const auto L = x.size(1);
            const auto torsion =
                dtk::dihedral(x.slice(1, 0, L - 3), x.slice(1, 1, L - 2), x.slice(1, 2, L - 1), x.slice(1, 3));
            const auto there = (mask > 0).unfold(1, 4, 1).all(-1);
            const auto all = there.sum().clamp_min(1).to(at::kDouble);
            const auto share = [&](const at::Tensor& of) { return (of.sum() / all).item<double>(); };
            const auto from = [&](double least, double most) {
                return (torsion > least * dtk::ideal::degree)
                    .logical_and(torsion < most * dtk::ideal::degree)
                    .logical_and(there);
            };
            const auto in_runs = [&](const at::Tensor& holds) {
                if (holds.size(1) < turn) return at::zeros_like(holds);
                const auto whole = at::constant_pad_nd(holds.unfold(1, turn, 1).all(-1), {turn - 1, turn - 1}, false);
                return whole.unfold(1, turn, 1).any(-1);
            };
            const auto left = from(-70, -30), right = from(30, 70);
            return {share(left),
                    {{"in left-handed helices", share(in_runs(left))},
                     {"right-handed", share(right)},
                     {"in right-handed helices", share(in_runs(right))}}};
        });
        result.note = "share of torsions of Cα in left-handed turns";
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, handedness, Handedness, "share of left-handed turns of Cα traces")
