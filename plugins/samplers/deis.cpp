// In x̃ = x/α the polynomial in log ρ, ρ = σ/α, through the last answers is integrated over ρ exactly:
//   x̃_s = x̃_t + Σ_k ε̂_k ∫_{ρ_t}^{ρ_s} ℓ_k(log ρ) dρ,   ℓ_k(log ρ_j) = δ_jk
// Zhang & Chen, "Fast Sampling of Diffusion Models with Exponential Integrator", 2023 (ρAB-DEIS, in log ρ). The
// first steps have the order that there are answers for; the last one, and one from α_t = 0, is ddim's.
#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Deis final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t order = 3;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("order", order, dtk::in(1, 3), "how many answers are used");
        }
    } c;
    Deis(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x, const dtk::Random&,
                      const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers answers(c.order);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            const double from = dtk::half_log_snr(noise, t), to = dtk::half_log_snr(noise, s);  // −log ρ
            answers.add(eps, from);

            if (last || noise.alpha(t) == 0) {
                x = noise.alpha(s) * x0 + noise.sigma(s) * eps;
            } else {
                // α_s ∫ r^j dρ = −σ_s h ∫_0^1 e^{h(1−r)} r^j dr,  r = (λ − λ_t)/h
                auto moments = dtk::exponential_moments(from - to, answers.size());
                for (auto& m : moments) m *= noise.sigma(s) * (from - to);
                const auto nodes = answers.nodes(from, to, answers.size());
                const double kept = noise.alpha(s) / noise.alpha(t);
                x = dtk::combined(kept, x, dtk::interpolation_weights(nodes, moments), answers);
            }
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(
    Sampler, deis, Deis,
    "exponential integrator in log σ/α of order up to three (DEIS, Zhang & Chen 2023); elsewhere: deis_multistep")
