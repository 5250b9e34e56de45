// Stochastic Adams methods in λ = log(α/σ): Adams–Bashforth predicts with the last answers x̂_0, Adams–Moulton corrects
// with the answer at what was predicted, which the next step needs in any case, and the same z:
//   x_s = σ_s/σ_t e^{−τ²h} x_t + (1+τ²) σ_s ∫_{λ_t}^{λ_s} e^{λ − τ²(λ_s−λ)} Σ_k ℓ_k(λ) x̂_0,k dλ + σ_s √(1 − e^{−2τ²h})
//   z
// Xue, Yi, Luo, Zhang, Sun, Li & Ma, "SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models", 2023,
// algorithm 1 (data prediction): τ where tau_min ≤ σ_t/α_t ≤ tau_max, and 0 elsewhere. The first steps have the order
// that there are answers for; the last one, and one from α_t = 0, is of first order.
#include <algorithm>

#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct SaSolver final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t predictor = 3, corrector = 3;
        double tau = 1, tau_min = 0.05, tau_max = 1;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("predictor", predictor, dtk::in(1, 4), "how many answers predict");
            f("corrector", corrector, dtk::in(0, 3), "how many of them correct with the new one; 0: no corrector");
            f("tau", tau, dtk::at_least(0), "τ, size of the noise; 1: the reverse SDE, 0: deterministic");
            f("tau_min", tau_min, dtk::at_least(0), "σ/α below which there is no noise");
            f("tau_max", tau_max, dtk::above(0), "σ/α above which there is no noise");
        }
    } c;
    SaSolver(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers answers(std::max(c.predictor, c.corrector + 1));
        at::Tensor before, z;  // x at the start of the step that ended here, and its noise
        const auto step = [&](const at::Tensor& x, double t, double s, std::int64_t most) {
            const double from = dtk::half_log_snr(noise, t), to = dtk::half_log_snr(noise, s), ratio = noise.ratio(t);
            const double tau = ratio >= c.tau_min && ratio <= c.tau_max ? c.tau : 0;
            const auto points = std::min(static_cast<std::size_t>(most), answers.size());
            const auto [kept, moments, sd] = dtk::exponential_step(noise, t, s, tau * tau, points);
            const auto nodes = answers.nodes(from, to, moments.size());
            const auto mean = dtk::combined(kept, x, dtk::interpolation_weights(nodes, moments), answers);
            return sd > 0 ? mean + sd * z : mean;
        };
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            answers.add(denoise.x0(x, t), dtk::half_log_snr(noise, t));
            if (c.corrector > 0 && answers.size() > 1)
                x = step(before, times[static_cast<std::size_t>(i) - 1], t, c.corrector + 1);
            before = x;
            if (c.tau > 0) z = random.step(i).normal(x.sizes(), x.options());
            x = step(x, t, s, c.predictor);
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, sa_solver, SaSolver, "stochastic Adams predictor and corrector (SA-Solver, Xue et al. 2023)")
