// How much helix and strand chains have, by P-SEA (Labesse et al. 1997): W_1 between the shares of residues in helices
// of the samples and of held-out chains, and the same of strands, added.
#include <dtk/chain_metric.hpp>
#include <dtk/secondary_structure.hpp>

namespace {
struct SecondaryStructure final : dtk::ChainMetric {
    SecondaryStructure(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "secondary_structure") {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto share = [](const dtk::Traces& chains, dtk::Secondary what) {
            const auto is = dtk::secondary_structure(chains.x, chains.mask) == static_cast<std::int64_t>(what);
            return is.to(at::kDouble).sum(1) / chains.lengths();
        };
        auto result = from_true_chains(input, random, 0, [&](const at::Tensor& a, const at::Tensor& b) -> Value {
            const auto x = dtk::traces_of(a), y = dtk::traces_of(b);
            const auto helix = share(x, dtk::Secondary::helix), true_helix = share(y, dtk::Secondary::helix),
                       strand = share(x, dtk::Secondary::strand), true_strand = share(y, dtk::Secondary::strand);
            const auto mean = [](const at::Tensor& of) { return of.mean().item<double>(); };
            return {dtk::wasserstein_1(helix, true_helix) + dtk::wasserstein_1(strand, true_strand),
                    {{"helix", mean(helix)},
                     {"true helix", mean(true_helix)},
                     {"strand", mean(strand)},
                     {"true strand", mean(true_strand)}}};
        });
        result.note = "W1 of the shares of helix and strand to held-out chains, added";
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, secondary_structure, SecondaryStructure, "how much helix and strand chains have beside real ones")
