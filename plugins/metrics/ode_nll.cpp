// −log p(x_0) of test examples under the probability flow, which carries the prior's density to the data's:
//   log p(x_0) = log p_T(x_T) + ∫ div v du + what rescaling x adds
// (Chen et al., "Neural Ordinary Differential Equations", 2018; Song et al., "Score-Based Generative Modeling through
// SDEs", 2021, section 4.3). At the angle θ = arctan(σ/α) with y = x/√(α² + σ²), whatever the process scales x by,
//   dy/dθ = (α ε̂ − σ x̂_0)/√(α² + σ²)
// is integrated from the first time's angle, where y is taken for cos θ x_0, to that of t = T−1. The divergence is the
// exact trace of the Jacobian, or Hutchinson's estimate eᵀ J e with e = ±1, the same along one way (Grathwohl et al.,
// "FFJORD", 2019). Data that come in levels have no density: they are spread evenly over their bins (`uniform`), and
// the number is then a bound on the bits of a level (Theis et al., "A note on the evaluation of generative models",
// 2016).
#include <cmath>
#include <numbers>

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <dtk/dormand_prince.hpp>
#include <dtk/metric.hpp>
#include <dtk/row_steps.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

struct OdeNll final : dtk::Metric {
    struct Config {
        std::int64_t n = 1000, batch = 250, probes = 1;
        double rtol = 1e-4, atol = 1e-4, first_time = 0;
        std::string trace = "auto", dequantise = "none", precision = "float32";
        void fields(dtk::Fields& f) {
            f("n", n, dtk::at_least(1), "test examples");
            f("batch", batch, dtk::at_least(1), "examples the network is asked for at a time");
            f("trace", trace, {"auto", "exact", "hutchinson"},
              "divergence: of d evaluations' gradients, or estimated; auto: exact up to 16 elements");
            f("probes", probes, dtk::in(1, 1000), "hutchinson: estimates for each example");
            f("first_time", first_time, dtk::in(-1, 1e6),
              "t at which the way begins, above −1: its little noise counts as none");
            f("rtol", rtol, dtk::above(0), "error of a step relative to the state");
            f("atol", atol, dtk::above(0), "error of a step in units of the state");
            f("dequantise", dequantise, {"none", "uniform"}, "of data that come in levels: spread over their bins");
            f("precision", precision, {"float32", "float64"}, "of the state, if the model takes it");
        }
    } c;
    OdeNll(const Config& config, const dtk::BuildContext& context) : c(config), levels_(context.space().levels) {
        const auto& process = dtk::gaussian(context.process(), "ode_nll");
        if (process.whole_steps())
            throw dtk::Error("ode_nll follows the flow between steps, and the process knows only whole ones",
                             "use metric bound or bits_per_dim, or another schedule");
        if (!(c.first_time > -1 && c.first_time < process.levels().last()))
            throw dtk::Error(
                fmt::format("`first_time` = {} is not between −1 and {}", c.first_time, process.levels().last()),
                "0 is the first step");
        if (levels_ > 0 && c.dequantise == "none")
            throw dtk::Error("these data come in levels, and no density gives a level a probability",
                             "set dequantise = \"uniform\"; the number is then a bound in bits/dim");
        if (levels_ == 0 && c.dequantise == "uniform")
            throw dtk::Error("`dequantise` is for data that come in levels, and these do not", "leave it \"none\"");
    }
    bool needs_samples() const override { return false; }

    dtk::MetricCard card() const override {
        return {dtk::Better::less, levels_ > 0 ? "bits/dim, uniformly dequantised" : "nats"};
    }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto there = input.chain_data().test_size(), n = there > 0 ? std::min(c.n, there) : c.n;
        Tensor nats = at::empty({n}, at::kDouble), spread = at::zeros({n}, at::kDouble);
        for (std::int64_t first = 0; first < n; first += c.batch) {
            const auto rows = std::min(c.batch, n - first);
            const auto batch = input.chain_data().test_examples(at::arange(first, first + rows, at::kLong));
            const auto denoise = input.denoise.with(batch.condition.to(input.device));
            const auto dtype = c.precision == "float64" ? at::kDouble : at::kFloat;
            auto x0 = batch.x.to(at::TensorOptions(input.device).dtype(dtype));
            if (levels_ > 0) {
                const auto noise = random.stream("bin").from(first).uniform(x0.sizes(), x0.options());
                x0 = x0 + bin(input.chain_data()) * (noise - 0.5);
            }
            const auto [value, variance] = way(denoise, x0, random.from(first));
            nats.slice(0, first, first + rows).copy_(value);
            spread.slice(0, first, first + rows).copy_(variance);
            input.progress(first + rows, n);
        }
        return result(input, nats, spread);
    }

 private:
    /// Width of a level's bin, in the data's units.
    double bin(const dtk::Dataset& data) const {
        const auto [least, most] = data.range().value_or(std::pair{-1.0, 1.0});
        return (most - least) / (levels_ - 1);
    }

    bool exact(std::int64_t d) const { return c.trace == "exact" || (c.trace == "auto" && d <= 16); }

    /// −log p of each row in nats, and the variance of that from its probes. → [B] float64 each
    std::pair<Tensor, Tensor> way(const dtk::Denoiser& denoise, const Tensor& x0, const dtk::Random& random) const {
        const auto& noise = denoise.noise();
        const auto d = x0.numel() / x0.size(0), probes = exact(d) ? 1 : c.probes;
        const auto angle = [&](double t) { return std::atan2(noise.sigma(t), noise.alpha(t)); };
        const double begin = angle(c.first_time), end = angle(noise.last());
        std::vector<Tensor> values;
        for (std::int64_t k = 0; k < probes; ++k) {
            Tensor probe;
            if (!exact(d)) {
                const auto draw = random.stream("probe").step(k).uniform(x0.sizes(), x0.options());
                probe = at::where(draw < 0.5, -1.0, 1.0).to(x0.scalar_type());
            }
            // The state: y and the log-density gained on the way.
            auto state = at::cat({std::cos(begin) * x0.flatten(1), at::zeros({x0.size(0), 1}, x0.options())}, 1);
            dtk::RowSteps adaptive(c.rtol, c.atol, 0.05 * (end - begin), 5);
            state = adaptive.along(state, begin, end, [&](const Tensor& y, const dtk::Time& a, const dtk::Time& b) {
                return dtk::dormand_prince(y, a, b, [&](const Tensor& state, const dtk::Time& theta) {
                    return slope(denoise, state, theta, x0.sizes(), probe);
                });
            });
            // y ends as the prior has it: N(0, prior variance/(α² + σ²)).
            const double scale2 = std::pow(noise.alpha(noise.last()), 2) + noise.sigma2(noise.last());
            const double variance = std::pow(noise.prior_sd(noise.last()), 2) / scale2;
            const auto y = state.slice(1, 0, d).to(at::kDouble), gained = state.select(1, d).to(at::kDouble);
            const auto at_end = -0.5 * (y.square().sum(1) / variance +
                                        static_cast<double>(d) * std::log(2 * std::numbers::pi * variance));
            values.push_back(-(at_end + gained + static_cast<double>(d) * std::log(std::cos(begin))).cpu());
        }
        const auto all = at::stack(values);
        return {all.mean(0), probes > 1 ? all.var(0) / static_cast<double>(probes) : at::zeros_like(values[0])};
    }

    /// dy/dθ and the divergence of it, at the angle of each row.
    Tensor slope(const dtk::Denoiser& denoise, const Tensor& state, const dtk::Time& theta, at::IntArrayRef sizes,
                 const Tensor& probe) const {
        const at::AutoGradMode with_gradients(true);
        const auto d = state.size(1) - 1;
        const auto y = state.slice(1, 0, d).detach().requires_grad_(true);
        const auto& noise = denoise.noise();
        const auto ratio = theta.map([](double theta) { return std::tan(std::min(theta, std::numbers::pi / 2)); });
        const dtk::Time t(dtk::Time(ratio.rows(y)).map([&](double r) { return noise.time_of_ratio(r); }).rows(y));
        const auto length = t.map([&](double t) { return std::hypot(noise.alpha(t), noise.sigma(t)); });
        const auto v = (denoise.v(length * y.view(sizes), t) / length).flatten(1);

        auto divergence = at::zeros({y.size(0)}, y.options());
        const auto jacobian_row = [&](const Tensor& of) {
            return torch::autograd::grad({(v * of).sum()}, {y}, {}, /*retain_graph=*/true)[0];
        };
        if (probe.defined())
            divergence = (jacobian_row(probe.flatten(1)) * probe.flatten(1)).sum(1);
        else
            for (std::int64_t i = 0; i < d; ++i) {
                auto one = at::zeros({d}, y.options());
                one[i] = 1;
                divergence = divergence + jacobian_row(one).select(1, i);
            }
        return at::cat({v, divergence.unsqueeze(1)}, 1).detach();
    }

    dtk::MetricResult result(const dtk::EvaluationInput& input, const Tensor& nats, const Tensor& spread) const {
        const auto n = nats.numel();
        const auto d = static_cast<double>([&] {
            std::int64_t all = 1;
            for (const auto size : input.chain_data().shape()) all *= size;
            return all;
        }());
        const double scale = levels_ > 0 ? 1 / (d * std::numbers::ln2) : 1,
                     shift = levels_ > 0 ? -std::log2(bin(input.chain_data())) : 0,
                     root = std::sqrt(static_cast<double>(n));
        dtk::MetricResult result{
            .value = nats.mean().item<double>() * scale + shift,
            .standard_error = n > 1 ? scale * nats.std().item<double>() / root : 0,
            .note = fmt::format(
                "{} of {} test examples, {}", levels_ > 0 ? "bits/dim, uniformly dequantised," : "nats", n,
                exact(static_cast<std::int64_t>(d)) ? "exact trace"
                                                    : fmt::format("trace estimated from {} probes each", c.probes)),
            .n = n,
            .split = "test"};
        if (c.probes > 1 && !exact(static_cast<std::int64_t>(d)))
            result.parts.emplace_back("of it by the probes", scale * spread.mean().sqrt().item<double>() / root);
        // Who knows the label knows more than the density of all.
        const auto* density = input.chain_data().classes() > 0 ? nullptr : input.chain_data().density();
        if (density && levels_ == 0) {
            result.expected = density->entropy();
            result.expected_sd = density->log_prob_sd() / root;
        }
        return result;
    }
    int levels_;
};
}  // namespace

DTK_PLUGIN(Metric, ode_nll, OdeNll, "negative log-likelihood of test examples under the probability flow")
