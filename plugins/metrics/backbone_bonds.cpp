// The share of the bonds N–CA, CA–C, C=O and C–N whose length is within three standard deviations of real chains' mean:
// 1.460 ± 0.013, 1.525 ± 0.013, 1.233 ± 0.012 and 1.330 ± 0.010 Å (5,361 chains of ProMod3's structure database).
#include <array>

#include <dtk/chain_metric.hpp>

namespace {

struct Bond {
    const char* name;
    std::int64_t from, to;  ///< atoms in the order N, CA, C, O
    bool next;              ///< to is the next residue's
    double mean, sd;        ///< of real chains, in ångström
};
constexpr std::array<Bond, 4> bonds{{{"N-CA", 0, 1, false, 1.460, 0.013},
                                     {"CA-C", 1, 2, false, 1.525, 0.013},
                                     {"C=O", 2, 3, false, 1.233, 0.012},
                                     {"C-N", 2, 0, true, 1.330, 0.010}}};

struct BackboneBonds final : dtk::ChainMetric {
    BackboneBonds(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "backbone_bonds", /*backbone=*/true) {}

    dtk::MetricCard card() const override { return {dtk::Better::more, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = as_true_chains(input, random, [&](const at::Tensor& samples) -> Value {
            const auto mask = dtk::traces_of(samples).mask;
            const auto x = samples.to(at::kCPU, at::kDouble);
            Value found{0};
            std::vector<at::Tensor> within;
            for (const auto& bond : bonds) {
                const std::int64_t step = bond.next ? 1 : 0;
                const auto L = x.size(1);
                const auto a = x.select(2, bond.from).slice(1, 0, L - step), b = x.select(2, bond.to).slice(1, step);
                const auto d = dtk::where_whole((a - b).norm(2, -1), mask, 1 + step);
                within.push_back((d - bond.mean).abs() <= 3 * bond.sd);
                found.parts.emplace_back(std::string(bond.name), d.mean().item<double>());
                found.parts.emplace_back(std::string(bond.name) + " deviation",
                                         d.std(/*unbiased=*/false).item<double>());
            }
            found.value = at::cat(within).to(at::kDouble).mean().item<double>();
            return found;
        });
        result.note = "share of backbone bonds within three standard deviations of real ones";
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, backbone_bonds, BackboneBonds, "share of N-CA, CA-C, C=O and C-N of the right length")
