// The Fréchet distance of endless sets: of n members each it is d²(n) = d²(∞) + c/n to first order, so that a line in
// 1/m through the distances of subsets of n/4 … n members meets the axis at d²(∞).
// Chong & Forsyth, "Effectively Unbiased FID and Inception Score and Where to Find Them", 2020, section 4. With few
// members for the number of features the next orders count, too, and the note says so.
#include <array>

#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

/// Where the line ends, and its standard error.
struct Limit {
    double value, error;
};

Limit limit(const Tensor& x, const Tensor& y) {
    constexpr int sizes = 7;
    const auto n = x.size(0);
    // Weighted least squares in u = 1/m; a size with r subsets, none of whose members meet twice, has weight r.
    double w = 0, wu = 0, wuu = 0, wd = 0, wud = 0;
    std::array<std::array<double, 3>, sizes> points{};
    for (int k = 0; k < sizes; ++k) {
        const auto m = static_cast<std::int64_t>(static_cast<double>(n) / (1 + 3.0 * k / (sizes - 1)));
        double sum = 0;
        std::int64_t sets = 0;
        for (; (sets + 1) * m <= n; ++sets)
            sum += dtk::frechet_distance(x.slice(0, sets * m, (sets + 1) * m), y.slice(0, sets * m, (sets + 1) * m));
        const double r = static_cast<double>(sets), u = 1 / static_cast<double>(m), d = sum / r;
        points[static_cast<std::size_t>(k)] = {r, u, d};
        w += r, wu += r * u, wuu += r * u * u, wd += r * d, wud += r * u * d;
    }
    const double det = w * wuu - wu * wu, value = (wuu * wd - wu * wud) / det, slope = (w * wud - wu * wd) / det;
    double left = 0;
    for (const auto& [r, u, d] : points) left += r * (d - value - slope * u) * (d - value - slope * u);
    return {value, std::sqrt(left / (sizes - 2) * wuu / det)};
}

struct FrechetInfinity final : dtk::SetMetric {
    using Config = dtk::SetMetric::Config;
    Config c;

    FrechetInfinity(const Config& config, const dtk::BuildContext& context)
        : SetMetric(config, context, "frechet_infinity", 16), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "squared distance"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input);
        std::int64_t d = 0;
        std::vector<double> errors;
        auto result = held_against_truth(input, n, random, [&](const Tensor& x, const Tensor& y) {
            const auto [value, error] = limit(x, y);
            d = x.size(1);
            errors.push_back(error);
            return value;
        });
        const bool few = n < 8 * d;
        if (!few) result.expected = 0;
        result.standard_error = errors[static_cast<std::size_t>(c.repeats)];  // of the samples, after the floor's pairs
        result.note =
            fmt::format("Fréchet distance, squared, of endless samples to endless true ones, from {} of each, {}{}", n,
                        features().text(), few ? fmt::format("; few for {} features: not without bias", d) : "");
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, frechet_infinity, FrechetInfinity,
           "Fréchet distance to true examples, extrapolated to endless samples (Chong & Forsyth 2020)")
