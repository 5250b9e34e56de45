// How many different samples are there, as it were? The exponential of the entropy of the eigenvalues λ of K/n,
//   exp(−Σ λ log λ),   K_ij = exp(−|x_i − x_j|²/2h²),
// 1 where all samples are the same and n where none is like another. h² is what a true example's features vary by, the
// trace of their covariance over their number, so that sets are seen through one kernel.
// Friedman & Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning", 2023, definition 1. It grows
// with n and knows nothing of quality: what counts is how near it is to that of true sets.
#include <algorithm>

#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>
#include <dtk/remembered.hpp>

namespace {

using at::Tensor;

double score(const Tensor& x, double h2) {
    std::vector<Tensor> rows;
    dtk::squared_distances(x, x, [&](std::int64_t, const Tensor& d2) { rows.push_back((d2 / (-2 * h2)).exp()); });
    const auto K = at::cat(rows) / static_cast<double>(x.size(0));
    const auto lambda = at::linalg_eigvalsh(0.5 * (K + K.t())).clamp_min(0);
    return std::exp(-at::xlogy(lambda, lambda).sum().item<double>());
}

struct Vendi final : dtk::SetMetric {
    struct Config : dtk::SetMetric::Config {
        std::int64_t most = 1000;
        void fields(dtk::Fields& f) {
            dtk::SetMetric::Config::fields(f);
            f("most", most, dtk::in(10, 10'000), "samples that are looked at; time grows with the cube");
        }
    } c;

    Vendi(const Config& config, const dtk::BuildContext& context) : SetMetric(config, context, "vendi", 2), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::nearest, "samples"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input, c.most);
        const auto seen = [&](const Tensor& x) { return features()(x, input.device); };
        const double h2 = seen(dtk::true_set(input.data, 0, n, random)).var(0).mean().item<double>();
        if (!(h2 > 0)) throw dtk::Error("all true examples have the same features", "use another metric for such data");
        const auto floor = dtk::remembered(fmt::format("floor of {}", n), [&]() -> std::vector<double> {
            const auto [mean, sd] = dtk::over_true_sets(input.data, c.repeats, n, random,
                                                        [&](const Tensor& x) { return score(seen(x), h2); });
            return {mean, sd};
        });
        return {
            .value = score(seen(dtk::evenly_among(input.samples, n)), h2),
            .expected = floor[0],
            .expected_sd = floor[1],
            .note = fmt::format("Vendi score of {} samples, RBF kernel with h² = {:.3g}, {}", n, h2, features().text()),
            .n = n,
            .split = "test",
            .features = features().card()};
    }
};
}  // namespace

DTK_PLUGIN(Metric, vendi, Vendi, "how many different samples there are, by the entropy of a kernel (Vendi score, 2023)")
