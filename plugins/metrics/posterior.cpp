// Do the samples follow p(x | y)? The worst of the standardised errors of mean and variance of every element that y
// leaves open:
//   (x̄ − m)/√(v/n)   and   (s² − v)/√(var w/n),  w = (x − x̄)²
// with x̄ and s² of the samples, m and v of p(x | y). Of true samples each is N(0, 1), and so is the largest of 2d of
// them in absolute value known; it passes below its 99.9 % point for independent ones, the most it can be. Infinite
// where what is known exactly is not so in every sample.
#include <cmath>
#include <limits>
#include <numbers>

#include <fmt/format.h>
#include <boost/math/distributions/normal.hpp>

#include <dtk/metric.hpp>
#include <dtk/observation.hpp>

namespace {

using at::Tensor;

constexpr double passing_quantile = 0.999;
constexpr std::int64_t listed = 4;  // with more elements their means and variances are not written out

/// The largest of k independent |z|, z ~ N(0, 1).
struct Largest {
    double mean = 0, sd = 0, limit = 0;
    explicit Largest(double k) {
        // P(largest > z) = 1 − erf(z/√2)^k; E z = ∫ P dz, E z² = ∫ 2z P dz
        constexpr double step = 1e-3;
        double square = 0;
        for (double z = step / 2; z < 12; z += step) {
            const double above = -std::expm1(k * std::log1p(-std::erfc(z / std::numbers::sqrt2)));
            mean += step * above;
            square += step * 2 * z * above;
        }
        sd = std::sqrt(square - mean * mean);
        limit = boost::math::quantile(
            boost::math::complement(boost::math::normal(), -std::expm1(std::log(passing_quantile) / k) / 2));
    }
};

void needs_one_posterior(const dtk::Observation& seen) {
    if (seen.draws() > 0)
        throw dtk::Error("posterior holds all samples against one law, and there is a y for every few of them",
                         "use metrics sbc and tarp, or leave out `draws` of [observation]");
    if (!seen.posterior(at::zeros({1, seen.size()}, at::kDouble)))
        throw dtk::Error(
            "posterior needs the law of the data given what is known of them, and nobody has worked it out",
            "use data that know it, such as gaussian_mixture, or metrics sbc and tarp");
}

struct Posterior final : dtk::Metric {
    explicit Posterior(const dtk::BuildContext& context) {
        needs_one_posterior(dtk::observation(context, "posterior"));
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "standard errors"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        at::NoGradGuard no_grad;
        const auto& seen = *input.observation;
        const auto all = input.samples.to(at::kDouble);
        const auto n = static_cast<double>(all.size(0));

        // What says nothing leaves the posterior as it is: α = 0.
        const auto y = seen.y(0, 1);
        const auto posterior = seen.posterior(y);
        const auto nothing = at::zeros_like(all.slice(0, 0, 1).flatten(1)), zero = at::zeros({1}, at::kDouble),
                   one = at::ones({1}, at::kDouble);
        const auto means = posterior->posterior_mean(nothing, zero, one)[0],
                   variances = posterior->posterior_variance(nothing, zero, one)[0];

        // Elements that y leaves open.
        const auto left = (variances > 1e-12 * variances.max()).nonzero().flatten();
        const auto x = all.flatten(1).index_select(1, left);
        const auto m = means.index_select(0, left), v = variances.index_select(0, left);
        const auto mean = x.mean(0), variance = x.var(0), square = (x - mean).square();
        const auto of_mean = (mean - m) / (v / n).sqrt(), of_variance = (variance - v) / (square.var(0) / n).sqrt();
        const double worst = at::cat({of_mean, of_variance}).abs().max().item<double>();

        const double off = seen.sd() == 0 ? (seen.of(all) - y).abs().max().item<double>() : 0;
        const bool disagrees = !(off <= 1e-5 * (1 + y.abs().max().item<double>()));

        const Largest expected(2 * static_cast<double>(left.numel()));
        dtk::MetricResult result{
            .value = disagrees ? std::numeric_limits<double>::infinity() : worst,
            .expected = expected.mean,
            .expected_sd = expected.sd,
            .limit = expected.limit,
            .note = disagrees ? fmt::format("what is known exactly is missed by up to {:.3g}", off)
                              : "worst error of mean and variance given what is known, in standard errors"};
        for (std::int64_t i = 0; i < left.numel() && left.numel() <= listed; ++i) {
            const auto add = [&](const char* what, const Tensor& value) {
                result.parts.emplace_back(fmt::format("x_{} {}", left[i].item<std::int64_t>(), what),
                                          value[i].item<double>());
            };
            add("mean", mean), add("exact mean", m), add("variance", variance), add("exact variance", v);
        }
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, posterior, Posterior,
           "do the samples have the mean and the variance that what is known leaves them?")
