// E log₂ N(x; μ̂, Σ̂) on test examples, μ̂ and Σ̂ the mean and the full covariance of training examples: what a density
// that knows all about pairs of elements and nothing more is worth, beside `bound` of a network. Σ̂ of N examples costs
// it (d + 3)/(4N ln 2) bits per element. No network is asked.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include <fmt/format.h>

#include <dtk/metric.hpp>

namespace {

using at::Tensor;

struct GaussianFit final : dtk::Metric {
    struct Config {
        std::int64_t fit = 50000, n = 10000;
        std::string per = "example";
        void fields(dtk::Fields& f) {
            f("fit", fit, dtk::at_least(2), "training examples, or all where there are fewer");
            f("n", n, dtk::at_least(2), "test examples, or all where there are fewer");
            f("per", per, {"example", "element"}, "what the bits are counted for");
        }
    } c;
    GaussianFit(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto& data = context.dataset();
        if (data.levels() > 0)
            throw dtk::Error("gaussian_fit measures a density, and these data come in levels", "leave it out");
        for (const auto size : data.shape()) elements_ *= size;
        if (data.size() > 0) c.fit = std::min(c.fit, data.size());
        if (data.test_size() > 0) c.n = std::min(c.n, data.test_size());
        if (c.fit <= elements_)
            throw dtk::Error(
                fmt::format("{} examples do not determine the covariance of {} elements", c.fit, elements_),
                fmt::format("gaussian_fit needs more than {}", elements_));
    }
    bool needs_samples() const override { return false; }

    dtk::MetricCard card() const override { return {dtk::Better::more, "bits per " + c.per}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        at::NoGradGuard no_grad;
        std::int64_t done = 0;
        const auto each_batch = [&](std::int64_t n, const auto& examples, const auto& use) {
            for (std::int64_t first = 0; first < n; first += at_once) {
                const auto last = std::min(first + at_once, n);
                use(examples(at::arange(first, last, at::kLong)).x.flatten(1).to(at::kDouble));
                input.progress(done += last - first, c.fit + c.n);
            }
        };
        auto sum = at::zeros({elements_}, at::kDouble), products = at::zeros({elements_, elements_}, at::kDouble);
        each_batch(
            c.fit, [&](const Tensor& index) { return input.data.examples(index); },
            [&](const Tensor& x) {
                sum += x.sum(0);
                products.addmm_(x.t(), x);
            });
        const auto N = static_cast<double>(c.fit), d = static_cast<double>(elements_);
        const auto mean = sum / N;
        const auto covariance = products / N - at::outer(mean, mean);
        const auto root = std::get<0>(at::linalg_cholesky_ex(covariance));
        // What is left of each element's variance when those before it are known; not a number after the first that is
        // not positive.
        if (!(root.diagonal().square() > 1e-12 * covariance.diagonal()).all().item<bool>())
            throw dtk::Error(
                "the covariance of these data is singular",
                "gaussian_fit is for data without constant elements, and none that follows from the others");

        const double constant = d * std::log(2 * std::numbers::pi) + 2 * root.diagonal().log().sum().item<double>();
        std::vector<Tensor> terms;
        each_batch(
            c.n, [&](const Tensor& index) { return input.data.test_examples(index); },
            [&](const Tensor& x) {
                const auto z = at::linalg_solve_triangular(root, (x - mean).t(), /*upper=*/false);
                terms.push_back(-0.5 * (constant + z.square().sum(0)));
            });
        const auto log_p = at::cat(terms) / (std::numbers::ln2 * (c.per == "element" ? d : 1));
        return {.value = log_p.mean().item<double>(),
                .standard_error = log_p.std().item<double>() / std::sqrt(static_cast<double>(c.n)),
                .note = fmt::format("bits per {} of a Gaussian fitted to {} training examples", c.per, c.fit),
                .n = c.n,
                .split = "test"};
    }

 private:
    static constexpr std::int64_t at_once = 1000;
    std::int64_t elements_ = 1;
};
}  // namespace

DTK_PLUGIN(Metric, gaussian_fit, GaussianFit, "likelihood of test examples under a full-covariance Gaussian, in bits")
