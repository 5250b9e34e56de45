// How near stretches of nine residues are to real ones: of each the least RMSD of Cα, superposed, to a library of such
// stretches of held-out chains, in the mean. What is expected is the same of other held-out chains.
#include <algorithm>

#include <fmt/format.h>

#include <dtk/chain_metric.hpp>

namespace {
struct LocalNativeness final : dtk::ChainMetric {
    struct Config : dtk::ChainMetric::Config {
        std::int64_t residues = 9, library = 1500, most = 600;
        Config() { repeats = 4; }
        void fields(dtk::Fields& f) {
            dtk::ChainMetric::Config::fields(f);
            f("residues", residues, dtk::at_least(4), "of a stretch");
            f("library", library, dtk::at_least(1), "stretches of held-out chains, at most");
            f("most", most, dtk::at_least(1), "stretches of samples that are looked at");
        }
    } c;
    LocalNativeness(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "local_nativeness"), c(config) {
        if (context.dataset().shape().front() < c.residues)
            throw dtk::Error(fmt::format("local_nativeness needs chains of {} residues", c.residues),
                             "use longer chains, or make `residues` smaller");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "ångström"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = from_true_chains(input, random, 0, [&](const at::Tensor& a, const at::Tensor& b) -> Value {
            const auto own = stretches(a, c.most), known = stretches(b, c.library);
            if (own.size(0) == 0) throw dtk::Error(fmt::format("no sample has {} residues", c.residues));
            const auto least = dtk::superposed_rmsds(own, known).amin(1);
            const auto share = (least < 1).to(at::kDouble).mean();
            return {least.mean().item<double>(), {{"within 1 Å", share.item<double>()}}};
        });
        result.note = fmt::format("least RMSD of {} residues to stretches of held-out chains, in the mean", c.residues);
        return result;
    }

 private:
    /// Whole ones, evenly among all: [m, residues, 3]
    at::Tensor stretches(const at::Tensor& samples, std::int64_t most) const {
        const auto [x, mask] = dtk::traces_of(samples);
        const auto all = x.unfold(1, c.residues, 1).transpose(2, 3).flatten(0, 1);
        const auto whole = (mask > 0).unfold(1, c.residues, 1).all(-1).flatten().nonzero().flatten();
        const auto n = std::min(most, whole.numel());
        return n == 0 ? all.slice(0, 0, 0) : all.index_select(0, dtk::evenly_among(whole, n));
    }
};
}  // namespace

DTK_PLUGIN(Metric, local_nativeness, LocalNativeness, "how near stretches of chains are to real ones")
