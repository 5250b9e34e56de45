// for t = t_N … t_1:
//   x̂_0' = argmin_x ‖y − A(x)‖² + ½ρ_t ‖x − x̂_0‖²,   ρ_t = 2λ sd²/σ̃_t²,  σ̃ = σ/α
//   ε̂ = (x_t − α_t x̂_0')/σ_t
//   x_s = α_s x̂_0' + σ_s (√ξ z + √(1 − ξ) ε̂)
// Zhu, Zhang, Liang, Cao, Wen, Timofte & Van Gool, "Denoising Diffusion Models for Plug-and-Play Image Restoration",
// 2023, algorithm 1. The minimum is
//   x̂_0' = x̂_0 + Aᵀ (A Aᵀ + ½ρ_t I)⁻¹ (y − A(x̂_0))
// or, where A is no matrix, the same with its derivative at x̂_0. No gradient of the network.
//
// Biased, even with a perfect network and any number of steps. What x_t leaves open of x_0 is taken for σ̃_t²/λ, which
// is more than the data leave; and fresh noise at every one of many steps, ξ > 0, loses spread even where y says
// nothing. In 1000 steps from σ = 80, N(0, 1) seen at 1 with sd 0.5 comes out as N(0.805, 0.424²) with λ = 1 and ξ =
// 0.3, as N(0.874, 0.396²) with ξ = 0, as N(0.801, 0.315²) with ξ = 1, and as N(0.386, 0.755²) with λ = 7 and ξ = 0.3,
// where N(0.800, 0.447²) is right.
#include <cmath>

#include <dtk/linearised.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct DiffPir final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        double lambda = 1, xi = 0.3;
        std::int64_t iterations = 20;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("lambda", lambda, dtk::above(0), "λ, how far the network is trusted against y");
            f("xi", xi, dtk::in(0, 1), "ξ, share of the noise's variance that each step draws anew");
            f("iterations", iterations, dtk::at_least(1), "of conjugate gradients, where y has more than 8 numbers");
        }
    } c;
    DiffPir(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config), seen_(dtk::observation(context, "diffpir")) {}

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        const auto y = dtk::observed(denoise.condition()).to(x.options());
        const bool elements = seen_.elements().defined();
        const auto known = elements ? dtk::known_elements(seen_, y, x) : dtk::KnownElements{};
        const double error2 = seen_.sd() * seen_.sd();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            // What the network says of x_0, moved towards y.
            auto x0 = denoise.x0(x, t);
            const double alpha = noise.alpha(t), sigma = noise.sigma(t);
            const double half_rho = c.lambda * error2 * std::pow(alpha / sigma, 2);
            if (elements) {  // A Aᵀ = I
                x0 = at::where(known.mask, x0 + (known.value - x0) / (1 + half_rho), x0);
            } else {
                const dtk::Linearised A(seen_, x0);
                const auto normal = [&](const Tensor& v) { return A.times(A.transposed(v)) + half_rho * v; };
                x0 = x0 + A.transposed(dtk::solved(normal, y - A.value(), c.iterations));
            }

            // Noise again, some of it the same.
            const auto eps = dtk::sum_of(1 / sigma, x, -alpha / sigma, x0);
            const auto z = random.step(i).normal(x.sizes(), x.options());
            const auto renoised = dtk::sum_of(std::sqrt(c.xi), z, std::sqrt(1 - c.xi), eps);
            x = last ? x0 : dtk::sum_of(noise.alpha(s), x0, noise.sigma(s), renoised);
            done(i + 1, x);
        }
        return x;
    }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(
    Sampler, diffpir, DiffPir,
    "each estimate of x_0 moved to agree with what is known, then noised again (DiffPIR, Zhu et al. 2023); biased "
    "even with a perfect network")
