// x̂_0 of this noise level is noised again to the next one, for networks that jump to the data in one evaluation:
//   x_s = α_s (x̂_0 + √(max(0, σ̃_s² − σ_min²)) z),   σ̃ = σ/α
// Song, Dhariwal, Chen & Sutskever, "Consistency Models", 2023, algorithm 1, for any α. σ_min is the noise that is left
// in what the network answers. With E[x_0 | x_t] in the place of a consistency function samples are too narrow.
#include <algorithm>
#include <cmath>

#include <dtk/sampler.hpp>

namespace {
struct Consistency final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        double sigma_min = 0.002;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("sigma_min", sigma_min, dtk::at_least(0), "σ/α that the network's answers still have");
        }
    } c;
    Consistency(const Config& config, const dtk::View& view) : GaussianSampler(config, view), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const double alpha = noise.alpha(s), ratio = noise.ratio(s);
            x = alpha * denoise.x0(x, t);
            const double sd = alpha * std::sqrt(std::max(0.0, ratio * ratio - c.sigma_min * c.sigma_min));
            if (sd > 0) x = x + sd * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, consistency, Consistency, "to the data and back to the next noise level (Song et al. 2023)")
