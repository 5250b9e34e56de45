//! sampler={use="my_sampler", steps=40, grid="trailing"}
// x_s = α_s x̂_0 + σ_s ε̂: one line of formula, then the paper that it is from.
#include <dtk/sampler.hpp>

namespace {
struct MySampler final : dtk::GaussianSampler {
    using Config = dtk::Sampler::Config;  // steps and grid; derive from it to add fields of your own
    MySampler(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context) {}

    // x: x_T, [B, ...] → x_0. Noise of step i is random.step(i).normal(x.sizes(), x.options()).
    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x, const dtk::Random&,
                      const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            x = noise.alpha(s) * x0 + noise.sigma(s) * eps;
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, my_sampler, MySampler, "deterministic steps along the grid")
