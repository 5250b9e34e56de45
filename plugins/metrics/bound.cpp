// K = E log p(x_{0…T}) / q(x_{1…T} | x_0) ≤ E log p(x_0), the bound of Sohl-Dickstein et al., "Deep Unsupervised
// Learning using Nonequilibrium Thermodynamics", 2015, eq. 14, in bits per example or per element.
// All T steps are summed; what is random are the test examples and their x_t, new ones at each step. Beside it stands K
// − L_null, what is gained over the null model: independent elements of one law, B(mean) for bits and a normal density
// for real numbers. With `best`, of data whose density is known: K* of steps with the exact mean and the best variance
// of each element, N(E[x_s | x_t], β̃ + c_0² Var[x_0 | x_t]), on the same x_0 and x_t, so that K − K* is known better
// than either.
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include <dtk/bernoulli.hpp>
#include <dtk/metric.hpp>
#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

/// The mean of some numbers, and its variance.
struct Estimate {
    double mean = 0, variance = 0;
    void add(const Tensor& values) {
        const auto x = values.to(at::kDouble);
        mean += x.mean().item<double>();
        variance += x.var().item<double>() / static_cast<double>(x.numel());
    }
};

struct Bound final : dtk::Metric {
    struct Config {
        std::int64_t examples = 200;
        std::string variance = "small", per = "example";
        bool best = false;
        void fields(dtk::Fields& f) {
            f("examples", examples, dtk::at_least(2), "test examples for each step");
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
            f("per", per, {"example", "element"}, "what the bits are counted for");
            f("best", best, "beside it K* of the best steps with independent elements, of data whose density is known");
        }
    } c;
    Bound(const Config& config, const dtk::BuildContext& context) : c(config) {
        context.process().accept_variance(c.variance);
        if (!c.best) return;
        dtk::gaussian(context.process(), "`best`");
        dtk::known_density(context.chain_data(), "`best`");
    }
    bool needs_samples() const override { return false; }

    dtk::MetricCard card() const override { return {dtk::Better::more, "bits per " + c.per}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        at::NoGradGuard no_grad;
        const auto& process = input.process;
        const auto T = process.steps(), n = c.examples;
        const auto turns = T + T / 8;  // batches of n examples, each its own
        const auto test = [&](std::int64_t turn) {
            auto index = at::arange(turn * n, (turn + 1) * n);
            if (const auto there = input.chain_data().test_size(); there > 0) index = index.remainder(there);
            auto batch = input.chain_data().test_examples(index);
            batch.x = batch.x.to(input.device);
            batch.condition = batch.condition.to(input.device);
            return batch;
        };
        Estimate prior, denoising, reconstruction, first, second, excess;
        const auto term = [&](std::int64_t step, std::int64_t turn) {
            const auto batch = test(turn);
            const dtk::Time t(static_cast<double>(step)), s(static_cast<double>(step - 1));
            const auto xt = process.noised(batch.x, t, random.step(turn)).x;
            const auto prediction = input.denoise(xt, t, batch.condition);
            first.add(batch.x);
            second.add(batch.x.square());
            input.progress(turn + 1, turns);
            const auto value = process.bound_term(batch.x, xt, t, s, prediction, c.variance);
            if (c.best && turn < T)
                excess.add(value - process.bound_term(batch.x, xt, t, s, best_step(input, xt, step), c.variance));
            return value;
        };
        for (std::int64_t step = 1; step < T; ++step) denoising.add(term(step, step));
        // Of bits the last step is rarely wrong, and then by far: it is one of T and needs more examples than the
        // others.
        std::vector<Tensor> last{term(0, 0)};
        for (auto turn = T; turn < turns; ++turn) last.push_back(term(0, turn));
        reconstruction.add(at::cat(last));
        prior.add(process.prior_term(test(turns).x));

        double d = 1;
        for (const auto size : input.chain_data().shape()) d *= static_cast<double>(size);
        const double unit = std::numbers::ln2 * (c.per == "element" ? d : 1);
        const auto bits = [&](const Estimate& nats) { return -nats.mean / unit; };
        const double K = bits(prior) + bits(denoising) + bits(reconstruction);
        const double mean = first.mean / static_cast<double>(turns),
                     variance = second.mean / static_cast<double>(turns) - mean * mean;
        auto note = "bits per " + c.per;
        if (const auto L = null_model(input, mean, variance))
            note += fmt::format(", K − L_null = {:.5g}", K - d * *L * std::numbers::ln2 / unit);
        if (const auto* density = input.chain_data().density())
            note += fmt::format("; at best {:.6g}", -density->entropy() / unit);
        std::vector<std::pair<std::string, double>> parts{
            {"prior", bits(prior)}, {"denoising", bits(denoising)}, {"reconstruction", bits(reconstruction)}};
        if (c.best) {
            parts.insert(parts.end(),
                         {{"K − K*", bits(excess)}, {"its standard error", std::sqrt(excess.variance) / unit}});
            note += fmt::format("; K* = {:.4f} for these steps", K - bits(excess));
        }
        return {.value = K,
                .standard_error = std::sqrt(prior.variance + denoising.variance + reconstruction.variance) / unit,
                .parts = parts,
                .note = note,
                .n = n,
                .split = "test"};
    }

 private:
    /// What the best step t → t − 1 with independent elements predicts.
    static dtk::Prediction best_step(const dtk::EvaluationInput& input, const Tensor& xt, std::int64_t step) {
        const auto& levels = input.process.levels();
        const auto& density = dtk::known_density(input.chain_data(), "`best`");
        const auto x = xt.flatten(1).to(at::kDouble);
        const auto level = levels.at(static_cast<double>(step));
        const auto alpha = at::full({x.size(0)}, level.alpha, x.options()),
                   sigma = at::full({x.size(0)}, level.sigma, x.options());
        const double c0 = levels.posterior_mean_x0(step, step - 1);
        const auto variance =
            levels.posterior_variance(step, step - 1) + c0 * c0 * density.posterior_variance(x, alpha, sigma);
        const auto as_x = [&](const Tensor& value) { return value.to(xt.scalar_type()).view_as(xt); };
        return {dtk::PredictionType::x0, as_x(density.posterior_mean(x, alpha, sigma)), as_x(variance)};
    }

    /// L_null in bits per element; none for numbers that come in levels, whose bins a density does not see.
    static std::optional<double> null_model(const dtk::EvaluationInput& input, double mean, double variance) {
        const auto p_log_p = [](double p) { return p > 0 ? p * std::log2(p) : 0; };
        if (dynamic_cast<const dtk::BernoulliProcess*>(&input.process)) return p_log_p(mean) + p_log_p(1 - mean);
        if (input.chain_data().levels() == 0)
            return -0.5 * std::log2(2 * std::numbers::pi * std::numbers::e * variance);
        return std::nullopt;
    }
};
}  // namespace

DTK_PLUGIN(Metric, bound, Bound,
           "the variational bound on test examples, in bits, and the gain over independent elements")
