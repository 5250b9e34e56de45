// ddim's step with a mean of the last answers in the place of ε̂_t, weighted as for equal steps (Adams–Bashforth):
//   ε' = (ε̂_t + ε̂_s)/2,  ε̂_s at ddim's x_s, in the first step;   (3ε̂_0 − ε̂_1)/2,   (23ε̂_0 − 16ε̂_1 + 5ε̂_2)/12,
//   (55ε̂_0 − 59ε̂_1 + 37ε̂_2 − 9ε̂_3)/24,   x_s = α_s/α_t (x_t − σ_t ε') + σ_s ε'
// Liu, Ren, Lin & Zhao, "Pseudo Numerical Methods for Diffusion Models on Manifolds", 2022 (PLMS), started as in
// latent-diffusion (Rombach et al. 2022), so that n steps cost n + 1 evaluations. Steps are equal in t and
// not in what is integrated, so that the order is two and not the four of the last formula. The last step, and one from
// α_t = 0, is ddim's.
#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Plms final : dtk::GaussianSampler {
    using Config = dtk::Sampler::Config;
    Plms(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x, const dtk::Random&,
                      const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers answers(4);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            const auto ddim = [&, &x0 = x0, &eps = eps, s = s] { return noise.alpha(s) * x0 + noise.sigma(s) * eps; };
            answers.add(eps, noise.ratio(t));
            if (last || noise.alpha(t) == 0) {
                x = ddim();
            } else {
                const auto [kept, gain] = dtk::noise_step(noise, t, s);
                const auto step = [&, kept = kept, gain = gain](std::vector<double> weights) {
                    for (auto& w : weights) w *= gain;
                    return dtk::combined(kept, x, weights, answers);
                };
                if (answers.size() == 1)
                    x = kept * x + (gain / 2) * (eps + denoise.eps(ddim(), s));
                else if (answers.size() == 2)
                    x = step({3. / 2, -1. / 2});
                else if (answers.size() == 3)
                    x = step({23. / 12, -16. / 12, 5. / 12});
                else
                    x = step({55. / 24, -59. / 24, 37. / 24, -9. / 24});
            }
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, plms, Plms,
           "pseudo linear multistep, the weights of equal steps (PNDM, Liu et al. 2022); elsewhere: pndm, ipndm")
