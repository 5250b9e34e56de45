// How near samples come to training chains: of each sample the greatest TM-score with a training example, residue i
// with residue i (Zhang & Skolnick 2004), in the mean. It is sought among `most` training examples by the least RMSD,
// and measured of the nearest of these, so that it is a lower bound. What is expected is the same of held-out chains;
// copies have 1, and what is no protein has less than those.
#include <algorithm>

#include <fmt/format.h>

#include <dtk/chain_metric.hpp>

namespace {
struct TmNovelty final : dtk::ChainMetric {
    struct Config : dtk::ChainMetric::Config {
        std::int64_t most = 2000, samples = 60, nearest = 5;
        Config() { repeats = 4; }
        void fields(dtk::Fields& f) {
            dtk::ChainMetric::Config::fields(f);
            f("most", most, dtk::at_least(1), "training examples that are looked at");
            f("samples", samples, dtk::at_least(1), "samples that are looked at");
            f("nearest", nearest, dtk::at_least(1), "of the examples, by RMSD: those whose TM-score is measured");
        }
    } c;
    TmNovelty(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "tm_novelty"), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::nearest, "TM-score"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto there = input.data.size() == 0 ? c.most : std::min(c.most, input.data.size());
        const auto known = dtk::traces_of(input.data.size() == 0 ? input.data.examples(at::arange(there)).x
                                                                 : dtk::training_set(input.data, there, random));
        auto some = input;
        some.samples = dtk::evenly_among(
            input.samples, std::min({c.samples, input.samples.size(0),
                                     std::max<std::int64_t>(1, dtk::true_set_size(input.data, c.samples))}));
        auto result = as_true_chains(some, random, [&](const at::Tensor& samples) -> Value {
            const auto own = dtk::traces_of(samples);
            const auto n = own.x.size(0), k = std::min(c.nearest, there);
            std::vector<at::Tensor> nearest;
            for (std::int64_t i = 0; i < n; ++i) {
                const auto both = own.mask[i] * known.mask;
                // Of chains that overlap in little the RMSD says nothing.
                const auto rmsd = dtk::superposed_rmsd(own.x[i].expand_as(known.x), known.x, both) /
                                  shared(own.mask[i], known.mask).clamp_min(1e-3);
                nearest.push_back(std::get<1>(rmsd.topk(k, 0, /*largest=*/false)));
            }
            const auto far = at::cat(nearest), near = at::arange(n).repeat_interleave(k);
            const auto mask = own.mask.index_select(0, near), known_mask = known.mask.index_select(0, far);
            const auto scores =
                dtk::tm_score(own.x.index_select(0, near), known.x.index_select(0, far), mask * known_mask) *
                shared(mask, known_mask);
            const auto best = scores.view({n, k}).amax(1);
            return {best.mean().item<double>(), {{"largest", best.max().item<double>()}}};
        });
        result.note =
            fmt::format("greatest TM-score with {} training examples, mean of {} samples", there, some.samples.size(0));
        return result;
    }

 private:
    /// The residues that both have, of those of the longer one.
    static at::Tensor shared(const at::Tensor& mask, const at::Tensor& other) {
        return (mask * other).sum(-1) / at::maximum(mask.sum(-1), other.sum(-1));
    }
};
}  // namespace

DTK_PLUGIN(Metric, tm_novelty, TmNovelty, "how near samples come to training chains by TM-score")
