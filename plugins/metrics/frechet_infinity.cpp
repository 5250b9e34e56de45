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

struct FrechetInfinity final : dtk::Metric {
    struct Config {
        dtk::Reference features{"pixels"};
        std::int64_t repeats = 8;
        void fields(dtk::Fields& f) {
            f("features", features, "what is looked at: pixels, or a stage or run that trained a classifier");
            f("repeats", repeats, dtk::in(2, 1024), "pairs of sets of true examples that are held against each other");
        }
    } c;

    FrechetInfinity(const Config& config, const dtk::BuildContext& context)
        : c(config), features_(config.features, context, "frechet_infinity") {
        if (const auto size = context.dataset().test_size(); size > 0 && size < 2 * least)
            throw dtk::Error(fmt::format("frechet_infinity needs {} test examples or more", 2 * least),
                             "use another metric");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "squared distance"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = dtk::true_set_size(input.data, input.samples.size(0));
        if (n < least)
            throw dtk::Error(fmt::format("frechet_infinity needs {} samples or more, not {}", least, n),
                             "raise `n` in [sample]");
        std::int64_t d = 0;
        std::vector<double> errors;
        auto result =
            dtk::held_against_truth(input, features_, n, c.repeats, random, [&](const Tensor& x, const Tensor& y) {
                const auto [value, error] = limit(x, y);
                d = x.size(1);
                errors.push_back(error);
                return value;
            });
        result.expected = 0;
        result.standard_error = errors[static_cast<std::size_t>(c.repeats)];  // of the samples, after the floor's pairs
        result.note = fmt::format(
            "Fréchet distance, squared, of endless samples to endless true ones, from {} of each, "
            "{}{}",
            n, features_.text(), n < 8 * d ? fmt::format("; few for {} features: not without bias", d) : "");
        return result;
    }

 private:
    static constexpr std::int64_t least = 16;
    dtk::Features features_;
};
}  // namespace

DTK_PLUGIN(Metric, frechet_infinity, FrechetInfinity,
           "Fréchet distance to true examples, extrapolated to endless samples (Chong & Forsyth 2020)")
