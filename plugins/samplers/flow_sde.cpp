// In u = (t+1)/T, with the velocity v = dx/du of the flow and the score −ε̂/σ, samples keep their law for any g:
//   x_s = x_t − Δ v − ½ g² Δ ε̂/σ_t + g √Δ z,   Δ = u_t − u_s,   x_0 = x̂_0 in the last step
// Ma, Goldstein, Albergo, Boffi, Vanden-Eijnden & Xie, "SiT: Exploring Flow and Diffusion-based Generative Models with
// Scalable Interpolant Transformers", 2024, eq. 7, by Euler–Maruyama's method. Of first order, weakly; where Δ
// g²/(2σ_t²) is not small a step overshoots.
#include <cmath>

#include <dtk/sampler.hpp>

namespace {
struct FlowSde final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::string diffusion = "sigma";
        double scale = 1;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("diffusion", diffusion, {"sigma", "variance", "constant"}, "g²: scale times σ, σ² or 1");
            f("scale", scale, dtk::at_least(0), "how much noise; 0: deterministic, flow_ode's euler");
        }
    } c;
    FlowSde(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            if (last) {
                x = x0;
            } else {
                const double delta = (t - s) / static_cast<double>(noise.steps()), sigma = noise.sigma(t);
                const double g2 = c.scale * (c.diffusion == "sigma"      ? sigma
                                             : c.diffusion == "variance" ? sigma * sigma
                                                                         : 1);
                const auto [alpha_rate, sigma_rate] = noise.rates(t);  // v = dα/du x̂_0 + dσ/du ε̂
                x = x - (delta * alpha_rate) * x0 - (delta * (sigma_rate + g2 / (2 * sigma))) * eps;
                if (g2 > 0) x = x + std::sqrt(g2 * delta) * random.step(i).normal(x.sizes(), x.options());
            }
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, flow_sde, FlowSde, "the flow with a diffusion of free size (SiT, Ma et al. 2024)")
