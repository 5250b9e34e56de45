// In x̃ = x/α and σ̃ = σ/α, a step of `dpm2` to σ_down, and noise from there to σ̃_s:
//   x̃_s = x̃_t + (σ_down − σ̃_t) ε̂(x_m, m) + σ_up z,   σ_m = √(σ̃_t σ_down)
//   σ_up = min(σ̃_s, η √(σ̃_s² (σ̃_t² − σ̃_s²)/σ̃_t²)),   σ_down² = σ̃_s² − σ_up²
// Crowson, k-diffusion, 2022, `sample_dpm_2_ancestral`.
#include <dtk/ratio_steps.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Dpm2Ancestral final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        double eta = 1;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("eta", eta, dtk::at_least(0), "share of the ancestral noise; 0: deterministic, `dpm2`");
        }
    } c;
    Dpm2Ancestral(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config) {
        dtk::needs_times_between(context.process(), "dpm2_ancestral");
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [down, up] = dtk::ancestral_step(noise, t, s, c.eta);
            const double alpha = noise.alpha(s);
            x = alpha * dtk::midpoint_step(denoise, x, t, down);
            if (up > 0) x = x + (alpha * up) * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, dpm2_ancestral, Dpm2Ancestral,
           "dpm2 with fresh noise at every step (k-diffusion); elsewhere: dpm_2_ancestral, kdpm2_ancestral_discrete")
