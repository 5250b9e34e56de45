// Does every mode get its share? Each sample is assigned to its most probable mode; with n_k of n samples in mode k and
// the exact probability p_k of being assigned to it,
//   χ² = Σ_k (n_k − n p_k)² / (n p_k),
// which for true samples has the χ² law of K − 1 degrees of freedom (Pearson 1900). It passes below that law's 99.9 %
// point.
#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <dtk/metric.hpp>
#include <numeric>

namespace {

constexpr double passing_quantile = 0.999;
// Below this expected count a mode is counted together with the next rarest: the law holds for larger ones only.
constexpr double least_expected = 5;

const dtk::Density& density_with_modes(const dtk::Dataset& data) {
    const auto& density = dtk::known_density(data, "mode_coverage");
    if (density.mode_weights().size() < 2)
        throw dtk::Error("mode_coverage needs data with two modes or more",
                         "use another metric, or data such as gaussian_mixture or moons");
    return density;
}

struct Cell {
    double expected = 0;
    double count = 0;
};

/// Cells of sufficient expected count, the rare ones put together.
std::vector<Cell> cells_of(std::vector<Cell> modes) {
    std::sort(modes.begin(), modes.end(), [](const Cell& a, const Cell& b) { return a.expected < b.expected; });
    std::vector<Cell> cells;
    for (const auto& mode : modes) {
        if (cells.empty() || cells.back().expected >= least_expected) cells.emplace_back();
        cells.back().expected += mode.expected;
        cells.back().count += mode.count;
    }
    return cells;
}

struct ModeCoverage final : dtk::Metric {
    explicit ModeCoverage(const dtk::BuildContext& context) { density_with_modes(context.dataset()); }

    dtk::MetricCard card() const override { return {dtk::Better::less}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const auto& density = density_with_modes(input.data);
        const auto x = input.samples.reshape({input.samples.size(0), -1}).to(at::kDouble);
        const auto n = static_cast<double>(x.size(0));
        const auto probability = density.mode_weights();
        const auto counts =
            at::bincount(density.nearest_mode(x).cpu(), {}, static_cast<std::int64_t>(probability.size()));
        std::vector<Cell> modes;
        for (std::size_t k = 0; k < probability.size(); ++k)
            modes.push_back(
                {n * probability[k], static_cast<double>(counts[static_cast<std::int64_t>(k)].item<std::int64_t>())});

        const auto cells = cells_of(std::move(modes));
        if (cells.size() < 2)
            throw dtk::Error(fmt::format("{} samples are too few for mode_coverage", x.size(0)),
                             fmt::format("draw at least {}", static_cast<std::int64_t>(least_expected) * 2 *
                                                                 static_cast<std::int64_t>(probability.size())));
        const double freedom = static_cast<double>(cells.size()) - 1;
        const double chi2 = std::accumulate(cells.begin(), cells.end(), 0.0, [](double sum, const Cell& cell) {
            return sum + (cell.count - cell.expected) * (cell.count - cell.expected) / cell.expected;
        });
        // A sample that is not finite belongs to no mode.
        return {.value = x.isfinite().all().item<bool>() ? chi2 : std::nan(""),
                .expected = freedom,
                .expected_sd = std::sqrt(2 * freedom),
                .limit = boost::math::quantile(boost::math::chi_squared(freedom), passing_quantile),
                .note = fmt::format("χ² of mode counts, {:.0f} degrees of freedom", freedom)};
    }
};

}  // namespace

DTK_PLUGIN(Metric, mode_coverage, ModeCoverage, "does every mode get its share of the samples?")
