// With λ = log(α/σ) and h = λ_s − λ_t, the polynomial in λ through the last answers x̂_0 is integrated exactly:
//   x_s = σ_s/σ_t e^{−ηh} x_t + (1+η) σ_s ∫_{λ_t}^{λ_s} e^{λ − η(λ_s−λ)} Σ_k ℓ_k(λ) x̂_0,k dλ + σ_s √(1 − e^{−2ηh}) z
// which is the probability flow for η = 0 and the reverse SDE for η = 1.
// Hochbruck & Ostermann, "Exponential Integrators", 2010, section 2.5 (exponential multistep methods); in λ and x̂_0 as
// Lu et al., "DPM-Solver++", 2022, proposition 4.1; with noise as Xue et al., "SA-Solver", 2023, where η is τ². The
// first steps have the order that there are answers for; the last one, and one from α_t = 0, is of first order.
#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct ExponentialAdams final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t order = 3;
        double eta = 0;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("order", order, dtk::in(1, 4), "how many answers are used");
            f("eta", eta, dtk::at_least(0), "share of the reverse SDE's noise; 0: deterministic");
        }
    } c;
    ExponentialAdams(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers answers(c.order);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const double from = dtk::half_log_snr(noise, t), to = dtk::half_log_snr(noise, s);
            answers.add(denoise.x0(x, t), from);

            const auto points = std::isfinite(to - from) ? answers.size() : 1;
            const auto [kept, moments, sd] = dtk::exponential_step(noise, t, s, c.eta, points);
            const auto weights = dtk::interpolation_weights(answers.nodes(from, to, points), moments);
            x = dtk::combined(kept, x, weights, answers);
            if (sd > 0) x = x + sd * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, exponential_adams, ExponentialAdams,
           "exponential Adams methods of order up to four in x̂_0, of the flow or of the reverse SDE")
