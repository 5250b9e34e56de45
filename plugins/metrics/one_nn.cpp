// How often the nearest neighbour of a member, of n samples and n true examples thrown together, is of its own kind:
// leave-one-out accuracy of a 1-nearest-neighbour classifier (Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample
// Tests", 2017). Of two sets of one law (n − 1)/(2n − 1); samples that are told from the truth have more, copies of the
// very examples less. With `gaussian` the same is told of as many draws from N(μ̂, Σ̂), the mean and the full covariance
// of training examples: what a model has to beat.
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

double accuracy(const Tensor& x, const Tensor& y) {
    const auto all = at::cat({x, y});
    const auto n = x.size(0);
    std::int64_t own = 0;
    dtk::squared_distances(all, all, [&](std::int64_t first, const Tensor& d2) {
        const auto rows = at::arange(first, first + d2.size(0), at::kLong);
        const auto nearest = d2.scatter(1, rows.unsqueeze(1), std::numeric_limits<double>::infinity()).argmin(1);
        own += ((nearest < n) == (rows < n)).sum().item<std::int64_t>();
    });
    return static_cast<double>(own) / static_cast<double>(all.size(0));
}

struct OneNn final : dtk::SetMetric {
    struct Config : dtk::SetMetric::Config {
        std::int64_t most = 5000, gaussian = 0;
        void fields(dtk::Fields& f) {
            dtk::SetMetric::Config::fields(f);
            f("most", most, dtk::in(10, 100'000), "samples that are looked at; time grows with the square");
            f("gaussian", gaussian, dtk::at_least(0),
              "tell it of a Gaussian, too, fitted to so many training examples; 0: of none");
        }
    } c;

    OneNn(const Config& config, const dtk::BuildContext& context) : SetMetric(config, context, "one_nn", 2), c(config) {
        if (const auto there = context.dataset().size(); there > 0) c.gaussian = std::min(c.gaussian, there);
    }

    dtk::MetricCard card() const override { return {dtk::Better::nearest, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input, c.most);
        auto result = held_against_truth(input, n, random, accuracy);
        result.note = fmt::format("share of {} samples and as many true ones whose nearest is of their kind, {}", n,
                                  features().text());
        if (c.gaussian == 0) return result;
        const auto fitted = features()(gaussian_draws(input.data, n, random.stream("gaussian")), input.device);
        const auto truth = features()(dtk::true_set(input.data, 0, n, random), input.device);
        result.parts.insert(result.parts.begin(), {"of a Gaussian", accuracy(fitted, truth)});
        return result;
    }

 private:
    /// Within the range of the data where they have one, as samples are. → [n, ...]
    Tensor gaussian_draws(const dtk::Dataset& data, std::int64_t n, const dtk::Random& random) const {
        constexpr std::int64_t at_once = 4096;
        const auto sizes = [&](std::int64_t rows) {
            auto all = data.shape();
            all.insert(all.begin(), rows);
            return all;
        };
        Tensor sum, products;
        for (std::int64_t first = 0; first < c.gaussian; first += at_once) {
            const auto index = at::arange(first, std::min(first + at_once, c.gaussian), at::kLong);
            const auto x = data.examples(index).x.flatten(1).to(at::kDouble);
            sum = sum.defined() ? sum + x.sum(0) : x.sum(0);
            products = products.defined() ? products.addmm_(x.t(), x) : x.t().mm(x);
        }
        const auto mean = sum / static_cast<double>(c.gaussian);
        const auto covariance = products / static_cast<double>(c.gaussian) - at::outer(mean, mean);
        const auto [variances, axes] = at::linalg_eigh(covariance);
        const auto z = random.normal({n, mean.size(0)}, at::kDouble);
        auto x = at::addmm(mean, z, variances.clamp_min(0).sqrt().unsqueeze(1) * axes.t());
        if (const auto range = data.range()) x = x.clamp(range->first, range->second);
        return x.view(sizes(n));
    }
};
}  // namespace

DTK_PLUGIN(Metric, one_nn, OneNn, "can a nearest neighbour tell samples from true examples? (leave one out)")
