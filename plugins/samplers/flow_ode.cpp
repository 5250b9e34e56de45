// dx/du = v(x, u), the velocity of the flow in u = (t+1)/T, from grid time to grid time: Euler's method, the midpoint
// method, the classical Runge–Kutta method, or Dormand & Prince's pair of orders 5 and 4 with as many steps between two
// times of the grid as each row's tolerance asks for. The last step takes x̂_0.
// Lipman et al., "Flow Matching for Generative Modeling", 2023; Dormand & Prince, "A Family of Embedded Runge–Kutta
// Formulae", 1980. A schedule that is a table has a velocity with jumps at its whole times, so that errors stop to fall
// with one over its number of steps; one that is a function of u has none.
#include <algorithm>
#include <utility>
#include <vector>

#include <dtk/ratio_steps.hpp>
#include <dtk/row_steps.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

/// Dormand & Prince: stage i stands at c_i and adds Σ_j a_ij k_j; the last row is the step itself; e is the difference
/// of both methods.
constexpr double c_dp[] = {0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
const std::vector<std::vector<double>> a_dp{{},
                                            {1. / 5},
                                            {3. / 40, 9. / 40},
                                            {44. / 45, -56. / 15, 32. / 9},
                                            {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
                                            {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
                                            {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}};
const std::vector<double> e_dp{71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525, -1. / 40};

Tensor weighted(const std::vector<double>& weights, const std::vector<Tensor>& k) {
    auto sum = weights[0] * k[0];
    for (std::size_t j = 1; j < weights.size(); ++j)
        if (weights[j] != 0) sum = at::add(sum, k[j], weights[j]);
    return sum;
}

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
    FlowOde(const Config& config, const dtk::View& view) : GaussianSampler(config, view), c(config) {
        dtk::needs_times_between(view.process(), "flow_ode");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        const auto T = static_cast<double>(denoise.process().steps());
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
                                       return dormand_prince(denoise, x, a, b, T);
                                   });
            }
            done(i + 1, x);
        }
        return x;
    }

 private:
    /// One step from u = a to u = b, rows apart: of order five, and of order four.
    static std::pair<Tensor, Tensor> dormand_prince(const dtk::Denoiser& denoise, const Tensor& x, const dtk::Time& a,
                                                    const dtk::Time& b, double T) {
        const auto h = a.map(b, [](double a, double b) { return b - a; });
        std::vector<Tensor> k;
        Tensor next = x;
        for (std::size_t stage = 0; stage < a_dp.size(); ++stage) {
            if (stage > 0) next = x + h * weighted(a_dp[stage], k);
            const auto t =
                a.map(b, [&](double a, double b) { return std::min((a + c_dp[stage] * (b - a)) * T, T) - 1; });
            k.push_back(denoise.velocity(next, dtk::Time(t.rows(x))));
        }
        return {next, next - h * weighted(e_dp, k)};
    }
};
}  // namespace

DTK_PLUGIN(Sampler, flow_ode, FlowOde,
           "the flow's velocity integrated in u by fixed or adaptive steps (Lipman et al. 2023)")
