// In λ = log(α/σ), with the last answers x̂_0: predicted by the polynomial through p of them, and corrected by the one
// through them and the answer at what was predicted, which the next step needs in any case:
//   x_s = σ_s/σ_t x_t + α_s h ∫_0^1 e^{−h(1−r)} Σ_k ℓ_k(r) x̂_0,k dr,   r = (λ − λ_t)/h,   h = λ_s − λ_t
// Two points have the weight α_s B(h)/2 in the place of the integral of r: B = h (bh1) or 1 − e^{−h} (bh2).
// Zhao, Bai, Rao, Zhou & Lu, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models",
// 2023, algorithms 5 and 6 (multistep, data prediction); from three points on B cancels. The order is p + 1. The first
// steps have the order that there are answers for; the last one, and one from α_t = 0, is of first order.
#include <algorithm>

#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct UniPc final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t order = 2;
        std::string form = "bh2";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("order", order, dtk::in(1, 3), "p, how many answers predict; the corrector is of order p + 1");
            f("form", form, {"bh1", "bh2"}, "B(h), the weight of two points: h or 1 − e^{−h}");
        }
    } c;
    UniPc(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x, const dtk::Random&,
                      const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        const auto p = static_cast<std::size_t>(c.order);
        dtk::Answers answers(c.order + 1);
        const auto step = [&](const at::Tensor& x, double t, double s, std::size_t points) {
            const double from = dtk::half_log_snr(noise, t), to = dtk::half_log_snr(noise, s);
            auto [kept, moments, sd] = dtk::exponential_step(noise, t, s, 0, points);
            if (moments.size() == 2) moments[1] = (c.form == "bh1" ? noise.alpha(s) * (to - from) : moments[0]) / 2;
            const auto nodes = answers.nodes(from, to, moments.size());
            return dtk::combined(kept, x, dtk::interpolation_weights(nodes, moments), answers);
        };
        at::Tensor before;  // x at the start of the step that ended here
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            answers.add(denoise.x0(x, t), dtk::half_log_snr(noise, t));
            if (answers.size() > 1)
                x = step(before, times[static_cast<std::size_t>(i) - 1], t, answers.size());  // UniC
            before = x;
            x = step(x, t, s, std::min(p, answers.size()));  // UniP
            done(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, unipc, UniPc,
           "predictor and corrector of order up to four, one evaluation a step (Zhao et al. 2023); elsewhere: uni_pc, "
           "unipc_multistep")
