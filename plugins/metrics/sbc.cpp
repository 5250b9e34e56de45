// Simulation-based calibration: is x* one more of the samples for the y that was measured of it? Where x*_j stands
// among the samples of its group, element by element, is uniform if they are those of p(x | y); with n_b of G groups in
// bin b of B,
//   χ² = Σ_b (n_b − G/B)²/(G/B)
// of the element where it is largest. Talts, Betancourt, Simpson, Vehtari & Gelman, "Validating Bayesian Inference
// Algorithms with Simulation-Based Calibration", 2018. True samples have for each element the law of χ² with B − 1
// degrees of freedom; it passes below the 99.9 % point of the largest of independent ones, the most it can be. A
// histogram with a dip in the middle means too little spread, a slope means a shifted mean. p(x), which ignores y,
// passes too.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <boost/math/distributions/chi_squared.hpp>

#include <dtk/calibration.hpp>

namespace {

using at::Tensor;

constexpr double passing_quantile = 0.999;
constexpr std::int64_t least_expected = 5;  // in a bin: the law of χ² holds for larger counts only

/// The largest of k independent χ².
struct Largest {
    double mean = 0, sd = 0, limit = 0;
    Largest(double k, double freedom) {
        // P(largest > z) = 1 − F(z)^k; E z = ∫ P dz, E z² = ∫ 2z P dz
        const boost::math::chi_squared law(freedom);
        constexpr double step = 0.01;
        const double end = boost::math::quantile(boost::math::complement(law, 1e-12));
        double square = 0;
        for (double z = step / 2; z < end; z += step) {
            const double above = -std::expm1(k * std::log1p(-boost::math::cdf(boost::math::complement(law, z))));
            mean += step * above;
            square += step * 2 * z * above;
        }
        sd = std::sqrt(square - mean * mean);
        limit = boost::math::quantile(boost::math::complement(law, -std::expm1(std::log(passing_quantile) / k)));
    }
};

struct Sbc final : dtk::Metric {
    struct Config {
        std::int64_t bins = 10, elements = 16;
        void fields(dtk::Fields& f) {
            f("bins", bins, dtk::at_least(2), "of the histogram; fewer where the groups are few");
            f("elements", elements, dtk::at_least(1), "at most so many are looked at, evenly among all");
        }
    } c;
    Sbc(const Config& config, const dtk::BuildContext& context) : c(config) { dtk::needs_draws(context, "sbc"); }

    dtk::MetricCard card() const override { return {dtk::Better::less}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto [samples, truth] = dtk::sample_groups(input);
        const auto groups = truth.size(0), d = truth.size(1), q = std::min(c.elements, d);
        const auto bins = std::min(c.bins, groups / least_expected);
        if (bins < 2)
            throw dtk::Error(fmt::format("{} groups of samples are too few for sbc", groups),
                             "raise n of [sample], or lower `draws` of [observation]");
        const auto looked_at = (at::arange(q) * d).div(q, "floor");
        const auto rank =
            dtk::relative_ranks(samples.index_select(2, looked_at), truth.index_select(1, looked_at), random);
        const auto bin = (rank.nan_to_num(0) * static_cast<double>(bins)).floor().to(at::kLong).clamp(0, bins - 1);
        const auto counts = at::one_hot(bin, bins).sum(0).to(at::kDouble);  // [q, bins]
        const double expected = static_cast<double>(groups) / static_cast<double>(bins);
        const auto chi2 = (counts - expected).square().sum(1) / expected;
        const auto worst = chi2.argmax().item<std::int64_t>();

        const double freedom = static_cast<double>(bins - 1);
        const Largest law(static_cast<double>(q), freedom);
        dtk::MetricResult result{
            .value = rank.isfinite().all().item<bool>() ? chi2[worst].item<double>() : std::nan(""),
            .expected = law.mean,
            .expected_sd = law.sd,
            .limit = law.limit,
            .note = fmt::format("χ² of the ranks of x_{} in {} groups, {:.0f} degrees of freedom",
                                looked_at[worst].item<std::int64_t>(), groups, freedom)};
        const auto off = rank.select(1, worst) - 0.5;
        result.parts = {{"mean rank, of ½", off.mean().item<double>() + 0.5},
                        {"spread, of 1", 12 * off.square().mean().item<double>()}};
        for (std::int64_t b = 0; b < bins; ++b)
            result.parts.emplace_back(fmt::format("groups in bin {} of {}", b + 1, bins),
                                      counts[worst][b].item<double>());
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, sbc, Sbc,
           "are test examples one more of the samples that were drawn for their y? (Talts et al. 2018)")
