// Squared maximum mean discrepancy between n samples x and m true examples y, without bias:
//   MMD² = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) − 2 mean k(x_i, y_j),   k(x, y) = exp(−|x − y|²/2h²)
// (Gretton et al., "A Kernel Two-Sample Test", 2012, eq. 3), h² the trace of the covariance of y.
// Of true samples it is Σ_i λ_i ((a_i/√n − b_i/√m)² − 1/n − 1/m) (theorem 12 there), a, b ~ N(0, 1), λ the
// eigenvalues of the kernel centred in both arguments, so its mean is 0 and, with s = 1/n + 1/m,
//   variance = 2 s² Σ λ²,   third moment = 8 s³ Σ λ³.
// It is skewed to the right: four standard deviations are passed by one true set in a hundred. So the limit is the 99.9
// % point of the shifted gamma law with those three moments; the sums come from up to 1000 of the true examples.
#include <fmt/format.h>

#include <boost/math/distributions/gamma.hpp>
#include <cmath>
#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

constexpr double passing_quantile = 0.999;
constexpr std::int64_t most_for_moments = 1000, rows_at_once = 256;

/// k(x_i, y_j), [n, m]
Tensor kernel(const Tensor& x, const Tensor& y, double h2) {
    const auto distance2 = x.square().sum(1, true) + y.square().sum(1) - 2 * x.matmul(y.t());
    return (distance2.clamp_min_(0) / (-2 * h2)).exp_();
}

/// Σ_ij k(x_i, y_j), in portions
double kernel_sum(const Tensor& x, const Tensor& y, double h2) {
    double sum = 0;
    for (std::int64_t first = 0; first < x.size(0); first += rows_at_once)
        sum += kernel(x.slice(0, first, first + rows_at_once), y, h2).sum().item<double>();
    return sum;
}

/// Mean of k over pairs of different members.
double within(const Tensor& x, double h2) {
    const auto n = static_cast<double>(x.size(0));
    return (kernel_sum(x, x, h2) - n) / (n * (n - 1));
}

struct PowerSums {
    double square, cube;  // Σ λ², Σ λ³
};

/// Σ λ² = E k̄(y, y')² and Σ λ³ = E k̄(y, y')k̄(y', y'')k̄(y'', y), over different members of y.
PowerSums power_sums(const Tensor& y, double h2) {
    const auto m = static_cast<double>(y.size(0));
    auto k = kernel(y, y, h2).fill_diagonal_(0);
    const auto row = k.sum(1, true) / (m - 1);
    const auto centred = (k - row - row.t() + row.mean()).fill_diagonal_(0);
    const auto square = centred.matmul(centred);
    return {square.diagonal().sum().item<double>() / (m * (m - 1)),
            (square * centred).sum().item<double>() / (m * (m - 1) * (m - 2))};
}

/// The point below which a law of mean 0, that variance and that third moment lies with `passing_quantile`.
double limit_of(double variance, double third_moment) {
    const double sd = std::sqrt(variance), skewness = std::max(third_moment / (variance * sd), 0.01);
    const double shape = 4 / (skewness * skewness);
    return sd * (boost::math::quantile(boost::math::gamma_distribution<double>(shape), passing_quantile) - shape) /
           std::sqrt(shape);
}

struct Mmd final : dtk::Metric {
    struct Config {
        std::int64_t most = 5000;
        void fields(dtk::Fields& f) {
            f("most", most, dtk::in(10, 100'000), "samples that are looked at; time grows with the square");
        }
    } cfg;

    Mmd(const Config& config, const dtk::BuildContext& context) : cfg(config) {
        if (const auto size = context.dataset().test_size(); size > 0 && size < 10)
            throw dtk::Error(fmt::format("mmd needs ten test examples or more, the data have {}", size),
                             "use another metric");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const auto n = std::min(input.samples.size(0), cfg.most);
        if (n < 10) throw dtk::Error(fmt::format("mmd needs ten samples or more, not {}", n), "raise `n` in [sample]");
        const auto m = input.data.test_size() == 0 ? n : std::min(n, input.data.test_size());
        const auto flat = [](const Tensor& x) { return x.reshape({x.size(0), -1}).to(at::kCPU, at::kDouble); };
        const auto x = flat(dtk::evenly_among(input.samples, n)),
                   y = flat(input.data.test_examples(at::arange(m, at::kLong)).x);

        const double h2 = y.var(0).sum().item<double>();
        const double between = kernel_sum(x, y, h2) / static_cast<double>(n * m);
        const auto sums = power_sums(y.slice(0, 0, most_for_moments), h2);
        const double s = 1 / static_cast<double>(n) + 1 / static_cast<double>(m);
        const double variance = 2 * s * s * sums.square;
        return {.value = within(x, h2) + within(y, h2) - 2 * between,
                .expected = 0,
                .expected_sd = std::sqrt(variance),
                .limit = limit_of(variance, 8 * s * s * s * sums.cube),
                .note = fmt::format("MMD² of {} samples to {} true ones, RBF kernel with h² = {:.3g}", n, m, h2),
                .n = n,
                .split = "test"};
    }
};

}  // namespace

DTK_PLUGIN(Metric, mmd, Mmd, "maximum mean discrepancy to true examples (RBF kernel)")
