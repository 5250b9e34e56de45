// In x̃ = x/α and σ̃ = σ/α, Euler's step of the probability flow to σ_down, and noise from there to σ̃_s:
//   x̃_s = x̂_0 + σ_down ε̂ + σ_up z,   σ_up = min(σ̃_s, η √(σ̃_s² (σ̃_t² − σ̃_s²)/σ̃_t²)),   σ_down² = σ̃_s² − σ_up²
// Crowson, k-diffusion, 2022, `sample_euler_ancestral`: the steps of Ho et al. 2020 in σ̃. For η ≤ 1 that is `ddim` with
// the same η; more noise than that is possible here.
#include <dtk/ratio_steps.hpp>
#include <dtk/sampler.hpp>

namespace {
struct EulerAncestral final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        double eta = 1;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("eta", eta, dtk::at_least(0), "share of the ancestral noise; 0: deterministic");
        }
    } c;
    EulerAncestral(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            const auto [down, up] = dtk::ancestral_step(noise, t, s, c.eta);
            const double alpha = noise.alpha(s);
            x = alpha * x0 + (alpha * down) * eps;
            if (up > 0) x = x + (alpha * up) * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, euler_ancestral, EulerAncestral,
           "Euler's method with fresh noise at every step (k-diffusion); elsewhere: euler_a, euler_ancestral_discrete")
