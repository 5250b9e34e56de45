// With λ = log(α/σ), h = λ_s − λ_t and the answers x̂_0 of this and the earlier times, D_0, D_1, D_2:
//   1   x_s = (σ_s/σ_t) x_t + α_s (1 − e^{−h}) D_0                              which is ddim
//   2s  the same with D at λ_t + h/2 in place of D_0
//   2m  … + ½ α_s (1 − e^{−h}) D¹,   D¹ = (D_0 − D_1)/r_0,   r_0 = (λ_t − λ_before)/h
//   3m  … + α_s (1 − (1 − e^{−h})/h) D¹ + 2 α_s (½ − 1/h + (1 − e^{−h})/h²) D²,   D¹ and D² the divided differences
// Lu, Zhou, Bao, Chen, Li & Zhu, "DPM-Solver++", 2022, algorithms 1 and 2 and appendix. The published code of 3m has
// half the last coefficient and is of order two. The first steps and the last one have the order that there are answers
// for.
#include <cmath>

#include <dtk/multistep.hpp>
#include <dtk/ratio_steps.hpp>
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
    DpmSolverPp(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        if (c.form == "2s") dtk::needs_times_between(context.process(), "dpm_solver_pp with form = \"2s\"");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers D(c.form == "2m" ? 2 : c.form == "3m" ? 3 : 1);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const double from = dtk::half_log_snr(noise, t), to = dtk::half_log_snr(noise, s);
            auto x0 = denoise.x0(x, t);
            if (c.form == "2s" && std::isfinite(to - from)) {
                const double middle = noise.time(from + to);  // log-SNR is 2λ
                const auto half = dtk::data_step(noise, t, middle);
                x0 = denoise.x0(half.kept * x + half.gain * x0, middle);
            }
            D.add(x0, from);

            const auto points = std::isfinite(to - from) ? D.size() : 1;
            auto [kept, moments, sd] = dtk::exponential_step(noise, t, s, 0, points);
            if (points == 2) moments[1] = moments[0] / 2;
            x = dtk::combined(kept, x, dtk::interpolation_weights(D.nodes(from, to, points), moments), D);
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, dpm_solver_pp, DpmSolverPp,
           "DPM-Solver++ of order 1, 2 or 3 in x̂_0 (Lu et al. 2022); elsewhere: dpmpp_2m, dpmpp_2s, dpmsolver++, "
           "dpm_solver_multistep")
