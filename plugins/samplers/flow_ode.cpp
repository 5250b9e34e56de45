// dx/du = v(x, u), the velocity of the flow in u = (t+1)/T, from grid time to grid time: Euler's method, the midpoint
// method, the classical Runge–Kutta method, or Dormand & Prince's pair of orders 5 and 4 with as many steps between two
// times of the grid as each row's tolerance asks for. The last step takes x̂_0.
// Lipman et al., "Flow Matching for Generative Modeling", 2023; Dormand & Prince, "A Family of Embedded Runge–Kutta
// Formulae", 1980. A schedule that is a table has a velocity with jumps at its whole times, so that errors stop to fall
// with one over its number of steps; one that is a function of u has none.
#include <algorithm>

#include <dtk/dormand_prince.hpp>
#include <dtk/ratio_steps.hpp>
#include <dtk/row_steps.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct FlowOde final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::string method = "midpoint";
        double rtol = 1e-5, atol = 1e-5;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("method", method, {"euler", "midpoint", "rk4", "dopri5"},
              "1, 2, 4 evaluations a step, or 7 and adaptive");
            f("rtol", rtol, dtk::above(0), "dopri5: error of a step relative to x");
            f("atol", atol, dtk::above(0), "dopri5: error of a step in units of x");
        }
    } c;
    FlowOde(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        dtk::needs_times_between(context.process(), "flow_ode");
        context.process().accept(dtk::PredictionType::velocity);
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        const auto T = static_cast<double>(denoise.process().steps());
        const auto velocity = [&](const Tensor& x, const dtk::Time& u) {
            const auto t = u.map([&](double u) { return std::min(u * T, T) - 1; });
            return denoise.velocity(x, dtk::Time(t.rows(x)));
        };
        dtk::RowSteps adaptive(c.rtol, c.atol, 0.05, 5);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const double h = (s - t) / T, middle = (t + s) / 2;
            if (last) {
                x = denoise.x0(x, t);
            } else if (c.method == "euler") {
                x = x + h * denoise.velocity(x, t);
            } else if (c.method == "midpoint") {
                const auto half = x + (h / 2) * denoise.velocity(x, t);
                x = x + h * denoise.velocity(half, middle);
            } else if (c.method == "rk4") {
                const auto k1 = denoise.velocity(x, t), k2 = denoise.velocity(x + (h / 2) * k1, middle),
                           k3 = denoise.velocity(x + (h / 2) * k2, middle), k4 = denoise.velocity(x + h * k3, s);
                x = x + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4);
            } else {
                x = adaptive.along(x, (t + 1) / T, (s + 1) / T,
                                   [&](const Tensor& x, const dtk::Time& a, const dtk::Time& b) {
                                       return dtk::dormand_prince(x, a, b, velocity);
                                   });
            }
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, flow_ode, FlowOde,
           "the flow's velocity integrated in u by fixed or adaptive steps (Lipman et al. 2023); elsewhere: "
           "probability_flow, flow_match")
