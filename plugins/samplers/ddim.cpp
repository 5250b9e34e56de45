// x_s = α_s x̂_0 + √(σ_s² − ς²) ε̂ + ς z,   ς = η·√β̃(t, s)
// Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2020, eqs. 12 and 16; η = 1 is `ddpm` with the small
// variance.
#include <cmath>

#include <dtk/sampler.hpp>

namespace {
struct Ddim final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        double eta = 0;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("eta", eta, dtk::in(0, 1), "share of the ancestral noise; 0: deterministic");
        }
    } c;
    Ddim(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);

            const double varsigma = c.eta * std::sqrt(noise.posterior_variance(t, s));
            // √(σ_s² − ς²), a difference of nearly equal numbers where η is 1
            const double gap = noise.log_snr(t) - noise.log_snr(s), eta2 = c.eta * c.eta;
            x = noise.alpha(s) * x0 + noise.sigma(s) * std::sqrt(1 - eta2 + eta2 * std::exp(gap)) * eps;
            if (varsigma > 0) x = x + varsigma * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, ddim, Ddim, "deterministic, or with a share η of the noise (Song et al. 2020)")
