// x_s = α_s x̂_0 + σ_s ε̂: Euler's method for the probability flow, dx̃/dσ̃ = ε̂ of x̃ = x/α and σ̃ = σ/α, which along
// x̂_0 and ε̂ also holds where α_t = 0. With `s_churn` the stochastic sampler without its second evaluation.
// Karras, Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022,
// algorithm 2.
#include <dtk/churn.hpp>
#include <dtk/ratio_steps.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Euler final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        dtk::Churn churn;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            churn.fields(f);
        }
    } c;
    Euler(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        if (c.churn.s_churn > 0) dtk::needs_times_between(context.process(), "euler with s_churn");
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        const auto n = static_cast<std::int64_t>(times.size());
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x_hat, t_hat] = c.churn(denoise, x, t, n, random.step(i));
            const auto [x0, eps] = denoise.estimate(x_hat, t_hat);
            x = noise.alpha(s) * x0 + noise.sigma(s) * eps;
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, euler, Euler,
           "Euler's method for the probability flow, with EDM's churn (Karras et al. 2022); elsewhere: euler_discrete, "
           "edm_euler, flow_match_euler_discrete")
