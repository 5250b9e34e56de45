// The Fréchet distance between the Gaussians with the means and covariances of the samples and of as many true
// examples:
//   d² = |m_1 − m_2|² + tr(C_1 + C_2 − 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2})
// (Dowson & Landau 1982), here in pixels or in what a classifier trained by dtk makes of an image: its figures compare
// with those of the same classifier alone. As finite sets have d² > 0, it stands beside what sets of true examples
// give.
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

/// tr (a^{1/2} b a^{1/2})^{1/2} of symmetric matrices without negative eigenvalues.
double trace_of_root(const Tensor& a, const Tensor& b) {
    const auto [values, vectors] = at::linalg_eigh(a);
    const auto root = (vectors * values.clamp_min(0).sqrt()).mm(vectors.t());
    return at::linalg_eigvalsh(root.mm(b).mm(root)).clamp_min(0).sqrt().sum().item<double>();
}

/// d² of two sets, [n, d] and [m, d]
double distance(const Tensor& x, const Tensor& y) {
    const auto a = x.t().cov().reshape({x.size(1), x.size(1)}), b = y.t().cov().reshape({y.size(1), y.size(1)});
    return ((x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace()).item<double>() - 2 * trace_of_root(a, b);
}

struct Frechet final : dtk::Metric {
    struct Config {
        dtk::Reference features{"pixels"};
        std::int64_t repeats = 8;
        void fields(dtk::Fields& f) {
            f("features", features, "what is looked at: pixels, or a stage or run that trained a classifier");
            f("repeats", repeats, dtk::in(2, 1024), "pairs of sets of true examples that are held against each other");
        }
    } c;

    Frechet(const Config& config, const dtk::BuildContext& context)
        : c(config), features_(config.features, context, "frechet") {
        if (const auto size = context.dataset().test_size(); size > 0 && size < 4)
            throw dtk::Error("frechet needs four test examples or more", "use another metric");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "squared distance"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = dtk::true_set_size(input.data, input.samples.size(0));
        if (n < 2) throw dtk::Error("frechet needs two samples or more", "raise `n` in [sample]");
        const auto apart = [&](const Tensor& x, const Tensor& y) {
            return distance(features_(x, input.device), features_(y, input.device));
        };
        const auto floor = dtk::between_true_sets(input.data, c.repeats, n, random, apart);
        return {.value = apart(input.samples.slice(0, 0, n), dtk::true_set(input.data, 0, n, random)),
                .expected = floor.mean,
                .expected_sd = floor.sd,
                .note = fmt::format("Fréchet distance, squared, of {} samples to as many true ones, {}", n,
                                    features_.text()),
                .n = n,
                .split = "test",
                .features = features_.card()};
    }

 private:
    dtk::Features features_;
};
}  // namespace

DTK_PLUGIN(Metric, frechet, Frechet, "Fréchet distance to true examples, in pixels or in a classifier's features")
