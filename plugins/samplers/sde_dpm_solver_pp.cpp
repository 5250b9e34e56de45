// With λ = log(α/σ), h = λ_s − λ_t, H = (1 + η) h and the answers x̂_0 of this and the earlier times, D_0, D_1, D_2:
//   1   x_s = σ_s/σ_t e^{−ηh} x_t + α_s (1 − e^{−H}) D_0 + σ_s √(1 − e^{−2ηh}) z
//   2m  … + ½ α_s (1 − e^{−H}) D¹,   D¹ = (D_0 − D_1) h/(λ_t − λ_before)
//   3m  … + α_s H (φ_1 D¹ + φ_2 D²),   φ_j = ∫_0^1 e^{−H(1−r)} r^j dr,   D_0 + r D¹ + r² D² through all three answers
// Lu, Zhou, Bao, Chen, Li & Zhu, "DPM-Solver++", 2022, the multistep algorithms for SDEs (η = 1); any η and 3m as
// Crowson, k-diffusion, 2023, where D² has half its size; elsewhere its sign is turned, too. The first steps and the
// last one have the order that there are answers for.
#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct SdeDpmSolverPp final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::string form = "2m";
        double eta = 1;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("form", form, {"1", "2m", "3m"}, "how many answers are used");
            f("eta", eta, dtk::at_least(0), "share of the reverse SDE's noise; 0: deterministic");
        }
    } c;
    SdeDpmSolverPp(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers D(c.form == "1" ? 1 : c.form == "2m" ? 2 : 3);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const double from = dtk::half_log_snr(noise, t), to = dtk::half_log_snr(noise, s);
            D.add(denoise.x0(x, t), from);

            const auto points = std::isfinite(to - from) ? D.size() : 1;
            auto [kept, moments, sd] = dtk::exponential_step(noise, t, s, c.eta, points);
            if (c.form == "2m" && points == 2) moments[1] = moments[0] / 2;
            x = dtk::combined(kept, x, dtk::interpolation_weights(D.nodes(from, to, points), moments), D);
            if (sd > 0) x = x + sd * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, sde_dpm_solver_pp, SdeDpmSolverPp,
           "SDE-DPM-Solver++ with one, two or three answers in x̂_0, and a share η of the noise (Lu et al. 2022); "
           "elsewhere: dpmpp_sde, dpmpp_2m_sde, dpmpp_3m_sde")
