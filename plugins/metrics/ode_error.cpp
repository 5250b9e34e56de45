// How far a sampler ends from where the exact probability flow takes its x_T:  √(mean ‖x_i − x*_i‖²).
// The flow keeps the law of x_t at every level (Song et al., "Score-Based Generative Modeling through SDEs", 2021, eq.
// 13). At the angle θ = arctan(σ/α) with y = x/√(α² + σ²), whatever the process scales x by,
//   dy/dθ = cos θ ε* − sin θ x̂_0,   x̂_0 = E[x_0 | cos θ x_0 + sin θ ε = y],   ε* = (y − cos θ x̂_0)/sin θ,
// which is v (Salimans & Ho 2022, app. D), finite also where α_T = 0. It is integrated from θ_T of t = T−1 to 0, before
// the first step, by Runge–Kutta–Fehlberg 7(8) to 1e-11 a step. So x_T is taken for a state at t = T−1, wherever the
// sampler's grid starts, the sampler's last step to σ = 0 counts, and that N(0, I) is not quite the law of x_T does
// not. float32 samples are off by some 1e-6/α_T already. Of samplers that draw noise it says how far noise took them.
#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <boost/numeric/odeint/integrate/integrate_adaptive.hpp>
#include <boost/numeric/odeint/stepper/generation.hpp>
#include <boost/numeric/odeint/stepper/runge_kutta_fehlberg78.hpp>

#include <dtk/metric.hpp>
#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

/// Where the flow takes y: [n, d] float64 from that angle. → [n, d]
Tensor flow(const dtk::Density& density, const Tensor& y, double angle) {
    using State = std::vector<double>;
    namespace odeint = boost::numeric::odeint;
    constexpr double tolerance = 1e-11, first_step = 1e-3;
    State state(y.const_data_ptr<double>(), y.const_data_ptr<double>() + y.numel());
    const auto velocity = [&](const State& now, State& slope, double theta) {
        const auto x = at::from_blob(const_cast<double*>(now.data()), y.sizes(), y.options());
        auto v = at::from_blob(slope.data(), y.sizes(), y.options());
        const double a = std::cos(theta), s = std::sin(theta);
        if (!(s > 0)) {  // ε* = −σ ∇ log q vanishes
            v.zero_();
            return;
        }
        const auto of_rows = at::ones({x.size(0)}, x.options());
        const auto x0 = density.posterior_mean(x, a * of_rows, s * of_rows);
        v.copy_(a / s * (x - a * x0) - s * x0);
    };
    auto stepper = odeint::make_controlled(tolerance, tolerance, odeint::runge_kutta_fehlberg78<State>());
    odeint::integrate_adaptive(stepper, velocity, state, angle, 0.0, -std::min(first_step, angle));
    return at::from_blob(state.data(), y.sizes(), y.options()).clone();
}

struct OdeError final : dtk::Metric {
    struct Config {
        std::int64_t n = 500;
        void fields(dtk::Fields& f) { f("n", n, dtk::at_least(1), "samples that are looked at, evenly among all"); }
    } c;
    OdeError(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::gaussian(context.process(), "ode_error");
        dtk::known_density(context.chain_data(), "ode_error");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "units of the data"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        at::NoGradGuard no_grad;
        if (!input.start.defined())
            throw dtk::Error("ode_error needs the x_T that the samples came from, and it is not known",
                             "draw the samples in the same run");
        const auto all = input.samples.size(0), n = std::min(c.n, all);
        const auto rows =
            ((at::arange(n, at::kDouble) + 0.5) * (static_cast<double>(all) / static_cast<double>(n))).to(at::kLong);
        const auto chosen = [&](const Tensor& x) {
            return x.to(at::kCPU).index_select(0, rows).flatten(1).to(at::kDouble).contiguous();
        };
        const auto& levels = input.process.levels();
        const double t = input.start_time.value_or(levels.last()), alpha = levels.alpha(t), sigma = levels.sigma(t);

        const auto exact = flow(dtk::known_density(input.chain_data(), "ode_error"),
                                chosen(input.start) / std::hypot(alpha, sigma), std::atan2(sigma, alpha));
        const auto off = (chosen(input.samples) - exact).norm(2, 1);
        return {
            .value = off.square().mean().sqrt().item<double>(),
            .parts = {{"median", off.median().item<double>()}, {"largest", off.max().item<double>()}},
            .note = fmt::format(
                "root mean square distance of {} samples to the exact flow from their x_T, in the units of the data",
                n),
            .n = n};
    }
};
}  // namespace

DTK_PLUGIN(Metric, ode_error, OdeError, "distance of each sample to the exact probability flow from its x_T")
