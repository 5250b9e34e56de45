// dx/du = v(x, u), the velocity of the flow in u = (t+1)/T, from grid time to grid time: Euler's method, the midpoint
// method, the classical Runge–Kutta method, or Dormand & Prince's pair of orders 5 and 4 with as many steps between two
// times of the grid as each row's tolerance asks for. The last step takes x̂_0.
// Lipman et al., "Flow Matching for Generative Modeling", 2023; Dormand & Prince, "A Family of Embedded Runge–Kutta
// Formulae", 1980. Where the schedule is a table, the velocity in u jumps at its whole times. There the flow is
// followed in the angle w = atan(σ/α), which knows no table: y = x/√(α² + σ²) moves with dy/dw = (α ε̂ − σ x̂_0)/√(α² +
// σ²).
#include <algorithm>
#include <cmath>

#include <dtk/dormand_prince.hpp>
#include <dtk/ratio_steps.hpp>
#include <dtk/row_steps.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

/// The flow by its clock w, which is u or the angle: y = x/scale moves with `slope`.
struct Flow {
    const dtk::Denoiser& denoise;
    const dtk::NoiseLevels& noise = denoise.noise();
    bool angle = !noise.continuous();
    double T = static_cast<double>(noise.steps());

    double clock(double t) const { return angle ? std::atan2(noise.sigma(t), noise.alpha(t)) : (t + 1) / T; }
    double time(double w) const { return angle ? noise.time_of_ratio(std::tan(w)) : std::min(w * T, T) - 1; }
    double middle(double t, double s) const { return angle ? time((clock(t) + clock(s)) / 2) : (t + s) / 2; }
    double scale(double t) const {
        return angle && !noise.is_variance_preserving() ? std::hypot(noise.alpha(t), noise.sigma(t)) : 1;
    }
    static Tensor times(double scale, const Tensor& x) { return scale == 1 ? x : scale * x; }
    Tensor slope(const Tensor& y, const dtk::Time& t) const {
        if (!angle) return denoise.velocity(y, t);
        if (noise.is_variance_preserving()) return denoise.v(y, t);
        const auto scale = t.map([&](double t) { return this->scale(t); });
        return denoise.v(scale * y, t) / scale;
    }
};

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
        context.process().accept(context.process().levels().continuous() ? dtk::PredictionType::velocity
                                                                         : dtk::PredictionType::v);
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        const Flow flow{denoise};
        dtk::RowSteps adaptive(c.rtol, c.atol, 0.05, 5);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            if (last) {
                x = denoise.x0(x, t);
            } else {
                x = flow.times(flow.scale(s), stepped(flow, flow.times(1 / flow.scale(t), x), t, s, adaptive));
            }
            done(i + 1, x);
        }
        return x;
    }

 private:
    Tensor stepped(const Flow& flow, const Tensor& y, double t, double s, dtk::RowSteps& adaptive) const {
        const double from = flow.clock(t), to = flow.clock(s), h = to - from;
        if (c.method == "dopri5") {
            const auto slope = [&](const Tensor& y, const dtk::Time& w) {
                return flow.slope(y, dtk::Time(w.map([&](double w) { return flow.time(w); }).rows(y)));
            };
            return adaptive.along(y, from, to, [&](const Tensor& y, const dtk::Time& a, const dtk::Time& b) {
                return dtk::dormand_prince(y, a, b, slope);
            });
        }
        const auto k1 = flow.slope(y, t);
        if (c.method == "euler") return y + h * k1;
        const double middle = flow.middle(t, s);
        const auto k2 = flow.slope(y + (h / 2) * k1, middle);
        if (c.method == "midpoint") return y + h * k2;
        const auto k3 = flow.slope(y + (h / 2) * k2, middle), k4 = flow.slope(y + h * k3, s);
        return y + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4);
    }
};
}  // namespace

DTK_PLUGIN(Sampler, flow_ode, FlowOde,
           "the flow's velocity integrated by fixed or adaptive steps (Lipman et al. 2023); elsewhere: "
           "probability_flow, flow_match")
