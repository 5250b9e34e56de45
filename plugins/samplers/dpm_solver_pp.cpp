// With λ = log(α/σ), h = λ_s − λ_t and the answers x̂_0 of this and the earlier times, D_0, D_1, D_2:
//   1   x_s = (σ_s/σ_t) x_t + α_s (1 − e^{−h}) D_0                              which is ddim
//   2s  the same with D at λ_t + h/2 in place of D_0
//   2m  … + ½ α_s (1 − e^{−h}) D¹,   D¹ = (D_0 − D_1)/r_0,   r_0 = (λ_t − λ_before)/h
//   3m  … + α_s (1 − (1 − e^{−h})/h) D¹ + 2 α_s (½ − 1/h + (1 − e^{−h})/h²) D²,   D¹ and D² the divided differences
// Lu, Zhou, Bao, Chen, Li & Zhu, "DPM-Solver++", 2022, algorithms 1 and 2 and appendix. The published code of 3m has
// half the last coefficient and is of order two. The first steps and the last one have the order that there are answers
// for.
#include <algorithm>
#include <cmath>
#include <deque>
#include <string>

#include <dtk/exponential.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct DpmSolverPp final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::string form = "2m";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("form", form, {"1", "2s", "2m", "3m"},
              "the order; s: two evaluations a step, m: earlier answers are used");
        }
    } c;
    DpmSolverPp(const Config& config, const dtk::View& view) : GaussianSampler(config, view), c(config) {}

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        const std::size_t order = c.form == "1" || c.form == "2s" ? 1 : c.form == "2m" ? 2 : 3;
        std::deque<Tensor> D;  // the newest first
        std::deque<double> lambda;
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            D.push_front(denoise.x0(x, t));
            lambda.push_front(dtk::half_log_snr(noise, t));
            const double h = dtk::half_log_snr(noise, s) - lambda[0];
            const auto [kept, gain] = dtk::data_step(noise, t, s);

            if (c.form == "2s" && !last && std::isfinite(h)) {
                const double middle = noise.time(2 * lambda[0] + h);
                const auto half = dtk::data_step(noise, t, middle);
                D[0] = denoise.x0(half.kept * x + half.gain * D[0], middle);
            }
            const auto points = last ? 1 : std::min(order, D.size());
            if (points == 1) {
                x = kept * x + gain * D[0];
            } else {
                const double alpha = noise.alpha(s), r0 = (lambda[0] - lambda[1]) / h;
                auto slope = (D[0] - D[1]) / r0;
                if (points == 2) {
                    x = kept * x + gain * D[0] + (gain / 2) * slope;
                } else {
                    const double r1 = (lambda[1] - lambda[2]) / h;
                    const auto change = slope - (D[1] - D[2]) / r1;
                    slope = slope + (r0 / (r0 + r1)) * change;
                    const double first = alpha * (1 + std::expm1(-h) / h);
                    const double second = 2 * alpha * (0.5 - 1 / h - std::expm1(-h) / (h * h));
                    x = kept * x + gain * D[0] + first * slope + (second / (r0 + r1)) * change;
                }
            }
            if (D.size() == order) {
                D.pop_back();
                lambda.pop_back();
            }
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, dpm_solver_pp, DpmSolverPp, "DPM-Solver++ of order 1, 2 or 3 in x̂_0 (Lu et al. 2022)")
