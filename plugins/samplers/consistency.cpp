// for t = t_N … t_1:  x̂_0 = f(x_t, t),   x_s = α_s x̂_0 + √(σ_s² − α_s² σ_min²) z,   x̂_0 in the last step
// Song, Dhariwal, Chen & Sutskever, "Consistency Models", 2023, algorithm 1, in σ/α. f is a consistency model, which
// takes any x_t of a path of the probability flow to its end at σ_min; σ_min is 0 where that end is the data. An
// ordinary network answers E[x_0 | x_t] instead, whose spread is too small for this.
#include <algorithm>
#include <cmath>

#include <dtk/sampler.hpp>

namespace {
struct Consistency final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        double sigma_min = 0;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("sigma_min", sigma_min, dtk::at_least(0), "σ/α that the network's answers still hold");
        }
    } c;
    Consistency(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = denoise.x0(x, t);
            if (!last) {
                const double fresh = noise.sigma2(s) - noise.alpha_bar(s) * c.sigma_min * c.sigma_min;
                const auto z = random.step(i).normal(x.sizes(), x.options());
                x = noise.alpha(s) * x + std::sqrt(std::max(0.0, fresh)) * z;
            }
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, consistency, Consistency,
           "multistep sampling of a consistency model (Song et al. 2023); elsewhere: lcm, cm_stochastic_iterative")
