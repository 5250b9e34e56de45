// The kernel distance of Bińkowski, Sutherland, Arbel & Gretton, "Demystifying MMD GANs", 2018, section 4:
//   mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) − 2 mean k(x_i, y_j),   k(x, y) = (xᵀy/d + 1)³
// of n samples and n true examples in d features. Unlike the Fréchet distance it is without bias for any n, so that
// true samples have 0 in the mean and numbers of different n compare.
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

constexpr std::int64_t rows_at_once = 1024;

/// Σ_ij k(x_i, y_j), in portions
double kernel_sum(const Tensor& x, const Tensor& y) {
    const auto d = static_cast<double>(x.size(1));
    double sum = 0;
    for (std::int64_t first = 0; first < x.size(0); first += rows_at_once)
        sum += (x.slice(0, first, first + rows_at_once).mm(y.t()) / d + 1).pow(3).sum().item<double>();
    return sum;
}

/// Mean of k over pairs of different members.
double within(const Tensor& x) {
    const auto n = static_cast<double>(x.size(0)), d = static_cast<double>(x.size(1));
    const double own = (x.square().sum(1) / d + 1).pow(3).sum().item<double>();
    return (kernel_sum(x, x) - own) / (n * (n - 1));
}

double distance(const Tensor& x, const Tensor& y) {
    return within(x) + within(y) - 2 * kernel_sum(x, y) / static_cast<double>(x.size(0) * y.size(0));
}

struct Kid final : dtk::SetMetric {
    struct Config : dtk::SetMetric::Config {
        std::int64_t most = 10'000;
        void fields(dtk::Fields& f) {
            dtk::SetMetric::Config::fields(f);
            f("most", most, dtk::in(10, 100'000), "samples that are looked at; time grows with the square");
        }
    } c;

    Kid(const Config& config, const dtk::BuildContext& context) : SetMetric(config, context, "kid", 2), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "squared distance"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input, c.most);
        auto result = held_against_truth(input, n, random, distance);
        result.expected = 0;
        result.note =
            fmt::format("kernel distance, unbiased, of {} samples to as many true ones, {}", n, features().text());
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, kid, Kid,
           "unbiased kernel distance to true examples, in pixels or in a classifier's features (2018)")
