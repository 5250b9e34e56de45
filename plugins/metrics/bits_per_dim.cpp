// −log₂ p(x_0) / d ≤ (L_T + Σ_{t≥1} L_t + L_0) / (d ln 2), the bound of Ho, Jain & Abbeel 2020, eq. 5, on examples that
// training never saw, as they are (no padding, no noise added). L_T and L_0 are computed for every example. Of the T−1
// steps between them each example meets one, drawn evenly in log-SNR, where the terms of the sum are of one size
// (Kingma et al., "Variational Diffusion Models", 2021, eq. 12), and spread over all examples so that each stands for
// an equal share.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include <fmt/format.h>

#include <dtk/metric.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

/// How often each t = 1 … T−1 is drawn: by its fall in log-SNR, and a little evenly, so that the weight of no step is
/// without bound, not even of one at zero SNR. Entry 0 is 0.
std::vector<double> step_probabilities(const dtk::NoiseLevels& levels) {
    const auto T = levels.steps();
    std::vector<double> fall(static_cast<std::size_t>(T), 0.0);
    for (std::int64_t t = 1; t < T; ++t) fall[t] = std::min(levels.log_snr(t - 1) - levels.log_snr(t), 1.0);
    const double all = std::accumulate(fall.begin(), fall.end(), 0.0);
    for (std::int64_t t = 1; t < T; ++t) fall[t] = 0.9 * fall[t] / all + 0.1 / static_cast<double>(T - 1);
    return fall;
}

struct BitsPerDim final : dtk::Metric {
    struct Config {
        std::int64_t n = 0, batch = 250, draws = 1;
        bool every_step = false;
        std::string variance = "small";
        void fields(dtk::Fields& f) {
            f("n", n, dtk::at_least(0), "test examples; 0: all, or 10,000 where they have no end");
            f("batch", batch, dtk::at_least(1), "examples the network is asked for at a time");
            f("draws", draws, dtk::at_least(1), "steps drawn for each example");
            f("every_step", every_step, "the full sum over all T steps: T evaluations for each example");
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
        }
    } c;
    BitsPerDim(const Config& config, const dtk::BuildContext& context) : c(config) {
        context.process().accept_variance(c.variance);
    }
    bool needs_samples() const override { return false; }

    dtk::MetricCard card() const override { return {dtk::Better::less, "bits/dim"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        at::NoGradGuard no_grad;
        const auto there = input.chain_data().test_size();
        const auto most = there > 0 ? there : 10000;
        const auto n = c.n > 0 ? (there > 0 ? std::min(c.n, there) : c.n) : most;
        auto shape = input.chain_data().shape();
        const auto d = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
        const double bits = 1 / (static_cast<double>(d) * std::numbers::ln2);
        const auto T = input.process.steps();
        const auto drawn = c.every_step || T == 1 ? Steps{} : draw(input.process.levels(), n, random.stream("t"));
        const auto evaluations = 1 + (T == 1 ? 0 : c.every_step ? T - 1 : c.draws);

        Tensor prior = at::empty({n}, at::kDouble), reconstruction = at::empty({n}, at::kDouble),
               denoising = at::zeros({n, evaluations - 1}, at::kDouble);
        std::int64_t done = 0;
        for (std::int64_t first = 0; first < n; first += c.batch) {
            const auto rows = std::min(c.batch, n - first);
            const auto batch = input.chain_data().test_examples(at::arange(first, first + rows, at::kLong));
            const auto x0 = batch.x.to(input.device);
            const auto denoise = input.denoise.with(batch.condition.to(input.device));
            const auto term = [&](const Tensor& t_of_rows, const std::string& stream) {
                const auto t = dtk::Time(t_of_rows);
                const auto xt = input.process.noised(x0, t, random.stream(stream).from(first)).x;
                const auto value = input.process.bound_term(x0, xt, t, t.minus(1), denoise(xt, t), c.variance)
                                       .to(at::kCPU, at::kDouble);
                input.progress(done += rows, n * evaluations);
                return value;
            };
            const auto part = [&](const Tensor& all) { return all.slice(0, first, first + rows); };
            part(prior).copy_(input.process.prior_term(x0));
            part(reconstruction).copy_(term(at::zeros({rows}, at::kDouble), "noise 0"));
            for (std::int64_t k = 0; k < evaluations - 1; ++k) {
                const auto t = c.every_step ? at::full({rows}, static_cast<double>(k + 1), at::kDouble)
                                            : part(drawn.t).select(1, k);
                const auto value = term(t, fmt::format("noise {}", k + 1));
                part(denoising).select(1, k).copy_(c.every_step ? value : value * part(drawn.weight).select(1, k));
            }
        }
        const auto steps = denoising.sum(1) / (drawn.t.defined() ? static_cast<double>(c.draws) : 1.0);
        const auto mean = [&](const Tensor& x) { return x.mean().item<double>() * bits; };
        return {.value = mean(prior + reconstruction + steps),
                .standard_error = bits * error(prior + reconstruction, denoising, drawn),
                .parts = {{"prior", mean(prior)}, {"denoising", mean(steps)}, {"reconstruction", mean(reconstruction)}},
                .note = fmt::format("bits/dim, a bound, {} of {} test examples{}",
                                    c.every_step ? "all steps," : fmt::format("{} of {} steps each,", evaluations, T),
                                    n, input.chain_data().levels() > 0 ? "" : ", of a density"),
                .n = n,
                .split = "test"};
    }

 private:
    struct Steps {
        Tensor t, weight;  ///< [n, draws] float64
    };

    /// Stratum k of the n·draws equal shares of probability holds one t; which example meets it is shuffled.
    Steps draw(const dtk::NoiseLevels& levels, std::int64_t n, const dtk::Random& random) const {
        const auto probability = step_probabilities(levels);
        std::vector<double> upto(probability.size());
        std::partial_sum(probability.begin(), probability.end(), upto.begin());
        const auto all = n * c.draws;
        const auto inside = random.uniform({all}, at::kDouble);
        const auto* u = inside.const_data_ptr<double>();
        Steps steps{at::empty({n, c.draws}, at::kDouble), at::empty({n, c.draws}, at::kDouble)};
        auto* t = steps.t.mutable_data_ptr<double>();
        auto* weight = steps.weight.mutable_data_ptr<double>();
        for (std::int64_t i = 0; i < all; ++i) {
            const auto stratum = dtk::permuted(i, all, random.seed(), 0);
            const double p = (static_cast<double>(stratum) + u[i]) / static_cast<double>(all) * upto.back();
            const auto step = std::clamp<std::int64_t>(std::upper_bound(upto.begin(), upto.end(), p) - upto.begin(), 1,
                                                       levels.steps() - 1);
            t[i] = static_cast<double>(step);
            weight[i] = 1 / probability[static_cast<std::size_t>(step)];
        }
        return steps;
    }

    /// Of the mean, in nats. Drawn steps: from differences of neighbours in the order of t, which sees the noise and
    /// the examples and not the change from step to step that the strata take out (von Neumann 1941). All steps: from
    /// the examples alone.
    static double error(const Tensor& known, const Tensor& denoising, const Steps& drawn) {
        const auto n = static_cast<double>(known.size(0));
        if (n < 2) return 0;
        if (!drawn.t.defined()) return (known + denoising.sum(1)).std().item<double>() / std::sqrt(n);
        const auto draws = static_cast<double>(denoising.size(1));
        const auto value = (known.unsqueeze(1) / draws + denoising / draws).flatten();
        const auto ordered = value.index_select(0, std::get<1>(drawn.t.flatten().sort(/*stable=*/true, 0, false)));
        const auto difference = ordered.slice(0, 1) - ordered.slice(0, 0, -1);
        const auto count = static_cast<double>(value.numel());
        const double variance = difference.square().sum().item<double>() / (2 * (count - 1));  // of one value
        return std::sqrt(variance * count) / n;
    }
};
}  // namespace

DTK_PLUGIN(Metric, bits_per_dim, BitsPerDim, "the variational bound on test examples, in bits per dimension")
