// KL(samples ‖ data) = −H(samples) − E log p(x), p the known density of the data and H estimated from how close the
// samples lie:
//   Ĥ = ψ(n) − ψ(k) + log V_d + (d/n) Σ_i log ρ_i,   ρ_i the distance of x_i to the k-th nearest other sample
// with V_d the volume of the unit ball (Kozachenko & Leonenko 1987; Kraskov, Stögbauer & Grassberger, "Estimating
// mutual information", 2004, eq. 20). It sees what `nll` alone does not: samples that crowd where p is high lose
// entropy. Its bias at the edges of the data and its noise are the same for true samples, so those are what it is held
// against: mean and standard deviation over `repeats` sets. Infinite where samples coincide, or lie where p is 0; below
// 0 where they are laid out more evenly than chance would.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

#include <fmt/format.h>
#include <boost/math/special_functions/digamma.hpp>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>
#include <dtk/remembered.hpp>
#include <dtk/rotations.hpp>

namespace {

using at::Tensor;

/// Mean of log ρ over all rows of x: [n, d] float64. Along the axis where they spread most, a row's neighbours are
/// looked at until that axis alone is farther than the k-th nearest yet.
double mean_log_distance(const Tensor& x, std::int64_t k) {
    const auto axis = x.var(0).argmax().item<std::int64_t>();
    const auto sorted = x.index_select(0, x.select(1, axis).argsort()).contiguous();
    const auto n = sorted.size(0), d = sorted.size(1);
    const auto* rows = sorted.const_data_ptr<double>();
    double sum = 0;
    std::vector<double> nearest(static_cast<std::size_t>(k));  // squared, rising
    for (std::int64_t i = 0; i < n; ++i) {
        std::fill(nearest.begin(), nearest.end(), std::numeric_limits<double>::infinity());
        const auto* here = rows + i * d;
        const auto look = [&](const double* there) {
            const double along = there[axis] - here[axis];
            if (along * along >= nearest.back()) return false;
            double distance2 = 0;
            for (std::int64_t j = 0; j < d && distance2 < nearest.back(); ++j)
                distance2 += (there[j] - here[j]) * (there[j] - here[j]);
            if (distance2 < nearest.back()) {
                nearest.back() = distance2;
                for (auto place = nearest.end() - 1; place != nearest.begin() && *place < *(place - 1); --place)
                    std::swap(*place, *(place - 1));
            }
            return true;
        };
        for (auto j = i + 1; j < n && look(rows + j * d); ++j) {
        }
        for (auto j = i - 1; j >= 0 && look(rows + j * d); --j) {
        }
        sum += 0.5 * std::log(nearest.back());
    }
    return sum / static_cast<double>(n);
}

struct Kl final : dtk::Metric {
    struct Config {
        std::int64_t k = 5, most = 5000, repeats = 16;
        void fields(dtk::Fields& f) {
            f("k", k, dtk::in(1, 1000), "which neighbour is looked at: more is steadier and blurs more");
            f("most", most, dtk::at_least(100), "samples that are looked at, evenly among all");
            f("repeats", repeats, dtk::in(4, 1024), "sets of true samples that say what to expect");
        }
    } c;
    Kl(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto& density = dtk::known_density(context.dataset(), "kl");
        if (dynamic_cast<const dtk::RotationDensity*>(&density))
            throw dtk::Error("kl is for data in a flat space, not for rotations", "use nll");
        const auto size = context.dataset().test_size();
        const auto x = context.dataset()
                           .test_examples(at::arange(size > 0 ? std::min<std::int64_t>(size, 100) : 100, at::kLong))
                           .x.flatten(1)
                           .to(at::kDouble);
        if (std::isinf(mean_log_distance(x, 1)))
            throw dtk::Error("kl needs a density, and of these data some are exactly alike",
                             "use outside_support and mode_coverage");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "nats"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto& density = dtk::known_density(input.data, "kl");
        const auto n = dtk::true_set_size(input.data, std::min(input.samples.size(0), c.most));
        if (n <= c.k)
            throw dtk::Error(fmt::format("{} samples have no {}-th neighbours", n, c.k),
                             "raise `n` in [sample], or lower `k`");
        const auto divergence = [&](const Tensor& samples) {
            const auto x = samples.flatten(1).to(at::kCPU, at::kDouble);
            if (!x.isfinite().all().item<bool>()) return std::nan("");
            const auto d = static_cast<double>(x.size(1));
            const double log_ball = d / 2 * std::log(std::numbers::pi) - std::lgamma(d / 2 + 1);
            const double entropy = boost::math::digamma(static_cast<double>(n)) -
                                   boost::math::digamma(static_cast<double>(c.k)) + log_ball +
                                   d * mean_log_distance(x, c.k);
            return -entropy - density.log_prob(x).mean().item<double>();
        };
        const auto floor = dtk::remembered(fmt::format("floor of {}", n), [&]() -> std::vector<double> {
            const auto [mean, sd] = dtk::over_true_sets(input.data, c.repeats, n, random,
                                                        [&, done = std::int64_t{0}](const Tensor& truth) mutable {
                                                            const double value = divergence(truth);
                                                            input.progress(++done, c.repeats);
                                                            return value;
                                                        });
            return {mean, sd};
        });
        return {.value = divergence(dtk::evenly_among(input.samples, n)),
                .expected = floor[0],
                .expected_sd = floor[1],
                .note = fmt::format("KL(samples ‖ data) in nats, from the {}{} neighbours of {} samples", c.k,
                                    c.k == 1   ? "st"
                                    : c.k == 2 ? "nd"
                                    : c.k == 3 ? "rd"
                                               : "th",
                                    n),
                .n = n};
    }
};
}  // namespace

DTK_PLUGIN(Metric, kl, Kl, "KL divergence of the samples from the known density, by nearest neighbours")
