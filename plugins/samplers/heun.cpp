// In x̃ = x/α and σ̃ = σ/α the probability flow is dx̃/dσ̃ = ε̂(x, t), and Heun's method averages it at both ends:
//   x̃_s = x̃_t + (σ̃_s − σ̃_t)·ε̂_t,   x̃_s ← x̃_t + (σ̃_s − σ̃_t)·½ (ε̂_t + ε̂_s),   the last step without the second line
// With `s_churn` noise is added first.
// Karras, Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022,
// algorithm 2.
#include <dtk/churn.hpp>
#include <dtk/ratio_steps.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Heun final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        dtk::Churn churn;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            churn.fields(f);
        }
    } c;
    Heun(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        if (c.churn.s_churn > 0) dtk::needs_times_between(context.process(), "heun with s_churn");
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto n = static_cast<std::int64_t>(times.size());
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x_hat, t_hat] = c.churn(denoise, x, t, n, random.step(i));
            x = dtk::heun_step(denoise, x_hat, t_hat, s);
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, heun, Heun,
           "Heun's second-order method with EDM's churn (Karras et al. 2022); elsewhere: edm, heun_discrete")
