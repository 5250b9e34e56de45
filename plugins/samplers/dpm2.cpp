// In x̃ = x/α and σ̃ = σ/α, the slope at the geometric mean of two noise levels, σ_m = √(σ̃_t σ̃_s), serves for the step:
//   x̃_m = x̃_t + (σ_m − σ̃_t) ε̂_t,   x̃_s = x̃_t + (σ̃_s − σ̃_t) ε̂(x_m, m)
// Crowson, k-diffusion, 2022, `sample_dpm_2`; DPM-Solver-2 of Lu et al. 2022 with r_1 = ½, here with the churn of
// Karras et al. 2022. The last step, and one from α_t = 0, is Euler's.
#include <dtk/churn.hpp>
#include <dtk/ratio_steps.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Dpm2 final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        dtk::Churn churn;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            churn.fields(f);
        }
    } c;
    Dpm2(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        dtk::needs_times_between(context.process(), "dpm2");
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        const auto n = static_cast<std::int64_t>(times.size());
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x_hat, t_hat] = c.churn(denoise, x, t, n, random.step(i));
            x = noise.alpha(s) * dtk::midpoint_step(denoise, x_hat, t_hat, noise.ratio(s));
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(
    Sampler, dpm2, Dpm2,
    "the slope between two noise levels, second order (k-diffusion, Lu et al. 2022); elsewhere: dpm_2, kdpm2_discrete")
