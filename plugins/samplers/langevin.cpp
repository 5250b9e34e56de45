// Before each step the state is corrected at its own noise level, `corrections` times, by Langevin's dynamics of step
// size δσ_t²/2; then ddim's step, without noise, predicts x_s:
//   x_t ← α_t x̂_0 + √(1 − δ) σ_t ε̂ + √δ σ_t z,   x_s = α_s x̂_0 + σ_s ε̂
// Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole, "Score-Based Generative Modeling through SDEs", 2021,
// algorithm 1. δ takes the place of their signal-to-noise ratio, whose norms over the batch would tie its samples to
// each other; the root keeps the variance where x̂_0 hardly moves.
#include <cmath>

#include <fmt/format.h>

#include <dtk/sampler.hpp>

namespace {
struct Langevin final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t corrections = 1;
        double delta = 0.01;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("corrections", corrections, dtk::at_least(0), "before each step; each costs one evaluation");
            f("delta", delta, dtk::in(0, 1), "δ, share of the noise's variance that a correction draws anew");
        }
    } c;
    Langevin(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            // Corrector.
            const double sigma = noise.sigma(t), kept = std::sqrt(1 - c.delta), fresh = std::sqrt(c.delta);
            for (std::int64_t k = 1; k <= c.corrections; ++k) {
                const auto [x0, eps] = denoise.estimate(x, t);
                const auto draw = k == 1 ? random : random.stream(fmt::format("correction {}", k));
                const auto z = draw.step(i).normal(x.sizes(), x.options());
                x = noise.alpha(t) * x0 + (kept * sigma) * eps + (fresh * sigma) * z;
            }
            // Predictor.
            const auto [x0, eps] = denoise.estimate(x, t);
            x = noise.alpha(s) * x0 + noise.sigma(s) * eps;
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, langevin, Langevin,
           "predictor–corrector with Langevin's dynamics (Song et al. 2021); elsewhere: pc, predictor_corrector")
