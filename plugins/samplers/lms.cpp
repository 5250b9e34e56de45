// In x̃ = x/α and σ̃ = σ/α the polynomial through the last answers is integrated (Adams–Bashforth on an uneven grid):
//   x̃_s = x̃_t + Σ_k ε̂_k ∫_{σ̃_t}^{σ̃_s} ℓ_k(σ) dσ,   ℓ_k(σ_j) = δ_jk
// Crowson, k-diffusion, 2022, `sample_lms`, its integrals exact. The first steps have the order that there are answers
// for; the last one, and one from α_t = 0, is Euler's.
#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Lms final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t order = 4;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("order", order, dtk::in(1, 4), "how many answers are used");
        }
    } c;
    Lms(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x, const dtk::Random&,
                      const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers answers(c.order);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            const double alpha = noise.alpha(s), from = noise.ratio(t), to = noise.ratio(s);
            answers.add(eps, from);

            if (last || noise.alpha(t) == 0) {
                x = alpha * x0 + noise.sigma(s) * eps;
            } else {
                std::vector<double> moments;  // α_s (σ̃_s − σ̃_t) ∫_0^1 r^j dr
                for (std::size_t j = 0; j < answers.size(); ++j)
                    moments.push_back(alpha * (to - from) / static_cast<double>(j + 1));
                const auto nodes = answers.nodes(from, to, answers.size());
                x = dtk::combined(alpha / noise.alpha(t), x, dtk::interpolation_weights(nodes, moments), answers);
            }
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, lms, Lms, "linear multistep in σ/α of order up to four (k-diffusion); elsewhere: lms_discrete")
