// How the angles of Cα traces are distributed: W_1 in degrees between the angles at each Cα of the samples and of
// held-out chains, and the same of the torsions, around the circle; their sum. Real angles lie between 81° and 152°
// (0.1 and 99.9 %), with 99° in the middle.
#include <numbers>

#include <dtk/chain_metric.hpp>

namespace {
struct ChainAngles final : dtk::ChainMetric {
    ChainAngles(const Config& config, const dtk::BuildContext& context) : ChainMetric(config, context, "chain_angles") {
        if (context.dataset().shape().front() < 4)
            throw dtk::Error("chain_angles needs chains of four residues", "use longer chains");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "degrees"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        struct Angles {
            at::Tensor bend, torsion;
            explicit Angles(const at::Tensor& samples) {
                const auto [x, mask] = dtk::traces_of(samples);
                const auto L = x.size(1);
                const auto from = [&x, L](std::int64_t first, std::int64_t of) {
                    return x.narrow(1, first, L - of + 1);
                };
                bend = dtk::where_whole(dtk::bond_angle(from(0, 3), from(1, 3), from(2, 3)), mask, 3);
                torsion = dtk::where_whole(dtk::dihedral(from(0, 4), from(1, 4), from(2, 4), from(3, 4)), mask, 4);
            }
            double quantile(double share) const { return bend.quantile(share).item<double>() / dtk::ideal::degree; }
        };
        auto result = from_true_chains(input, random, 0, [&](const at::Tensor& a, const at::Tensor& b) -> Value {
            const Angles x(a), y(b);
            const double bend = dtk::wasserstein_1(x.bend, y.bend) / dtk::ideal::degree,
                         torsion = dtk::wasserstein_of_angles(x.torsion, y.torsion) / dtk::ideal::degree;
            return {bend + torsion,
                    {{"angles", bend},
                     {"torsions", torsion},
                     {"angle, 0.1 %", x.quantile(0.001)},
                     {"angle, 50 %", x.quantile(0.5)},
                     {"angle, 99.9 %", x.quantile(0.999)},
                     {"true angle, 0.1 %", y.quantile(0.001)},
                     {"true angle, 50 %", y.quantile(0.5)},
                     {"true angle, 99.9 %", y.quantile(0.999)}}};
        });
        result.note = "W1 of the angles and torsions of Cα to held-out chains, added";
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, chain_angles, ChainAngles, "how angles and torsions of Cα differ from those of real chains")
