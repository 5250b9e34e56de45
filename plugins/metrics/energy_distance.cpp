// Energy distance between n samples x and m true examples y, as the sums of all pairs give it:
//   E = 2 mean |x_i − y_j| − mean |x_i − x_j| − mean |y_i − y_j|
// (Székely & Rizzo, "Energy statistics", 2013, eq. 6.1). Of true samples it is Σ_i λ_i (a_i/√n − b_i/√m)², a, b ~ N(0,
// 1), λ the eigenvalues of −|y − y'| centred in both arguments, so that with s = 1/n + 1/m
//   mean = s Σ λ = s E|y − y'|,   variance = 2 s² Σ λ².
// It is skewed to the right, so the limit is the 99.9 % point of the gamma law with those two moments (Welch 1938;
// Satterthwaite 1946). Blunter than the likelihood: it does not see samples that are a little too concentrated.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <boost/math/distributions/gamma.hpp>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

constexpr double passing_quantile = 0.999;
constexpr std::int64_t most_for_moments = 1000;

/// Mean of |x_i − y_j| over all pairs.
double mean_distance(const Tensor& x, const Tensor& y) {
    double sum = 0;
    dtk::squared_distances(x, y, [&](std::int64_t, const Tensor& d2) { sum += d2.sqrt().sum().item<double>(); });
    return sum / static_cast<double>(x.size(0) * y.size(0));
}

/// Σ λ² = E k̄(y, y')² over different members of y.
double square_sum(const Tensor& y) {
    const auto m = static_cast<double>(y.size(0));
    std::vector<Tensor> rows;
    dtk::squared_distances(y, y, [&](std::int64_t, const Tensor& d2) { rows.push_back(d2.sqrt()); });
    const auto d = at::cat(rows).fill_diagonal_(0);
    const auto row = d.sum(1, true) / (m - 1);
    return (d - row - row.t() + row.mean()).fill_diagonal_(0).square().sum().item<double>() / (m * (m - 1));
}

struct EnergyDistance final : dtk::Metric {
    struct Config {
        std::int64_t most = 5000;
        void fields(dtk::Fields& f) {
            f("most", most, dtk::in(10, 100'000),
              "samples that are looked at, evenly among all; time grows with the square");
        }
    } c;
    EnergyDistance(const Config& config, const dtk::BuildContext& context) : c(config) {
        if (const auto size = context.dataset().test_size(); size > 0 && size < 10)
            throw dtk::Error(fmt::format("energy_distance needs ten test examples or more, the data have {}", size),
                             "use another metric");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "units of the data"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const auto n = std::min(input.samples.size(0), c.most);
        const auto m = input.data.test_size() == 0 ? n : std::min(n, input.data.test_size());
        if (n < 3)
            throw dtk::Error(fmt::format("energy_distance needs three samples or more, not {}", n),
                             "raise `n` in [sample]");
        const auto flat = [](const Tensor& x) { return x.reshape({x.size(0), -1}).to(at::kCPU, at::kDouble); };
        const auto x = flat(dtk::evenly_among(input.samples, n)),
                   y = flat(input.data.test_examples(at::arange(m, at::kLong)).x);

        const double of_true = mean_distance(y, y);
        const double s = 1 / static_cast<double>(n) + 1 / static_cast<double>(m);
        const double mean = s * of_true * static_cast<double>(m) / static_cast<double>(m - 1);
        const double variance = 2 * s * s * square_sum(y.slice(0, 0, most_for_moments));
        return {.value = 2 * mean_distance(x, y) - mean_distance(x, x) - of_true,
                .expected = mean,
                .expected_sd = std::sqrt(variance),
                .limit = boost::math::quantile(
                    boost::math::gamma_distribution<double>(mean * mean / variance, variance / mean), passing_quantile),
                .note = fmt::format("energy distance of {} samples to {} true ones, in the units of the data", n, m),
                .n = n,
                .split = "test"};
    }
};
}  // namespace

DTK_PLUGIN(Metric, energy_distance, EnergyDistance, "energy distance to true examples")
