// Classifier-free guidance for flows, with velocities v_c and v_u:
//   v = s*·v_u + w·(v_c − s*·v_u),   s* = ⟨v_c, v_u⟩/‖v_u‖² for each example,   v = 0 while u > 1 − share
// Fan et al., "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models", 2025.
#include <dtk/guidance.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

struct CfgZero final : dtk::Guidance {
    struct Config {
        double scale = 4, share = 0.04;
        void fields(dtk::Fields& f) {
            f("scale", scale, dtk::any_number(), "w; 1: no guidance");
            f("share", share, dtk::in(0, 1), "share of the time, from the noisy end, in which nothing moves");
        }
    } c;
    CfgZero(const Config& config, const dtk::BuildContext& context) : c(config) {
        context.process().accept(dtk::PredictionType::velocity);
    }
    bool needs_null_condition() const override { return c.scale != 1; }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.scale == 1) return denoise;
        return denoise.replaced([denoise, c = c](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto T = static_cast<double>(denoise.process().steps());
            const auto moves = t.map([&](double t) { return (t + 1) / T > 1 - c.share ? 0.0 : 1.0; });
            if (moves.uniform() && moves.value() == 0)
                return dtk::Prediction{dtk::PredictionType::velocity, at::zeros_like(x), {}};
            const auto [with, without] = dtk::both_halves(denoise, x, t, condition);
            const auto velocity = [&](const dtk::Prediction& prediction) {
                return denoise.process().convert(prediction, dtk::PredictionType::velocity, x, t);
            };
            const auto v_c = velocity(with), v_u = velocity(without);
            std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
            sizes[0] = -1;
            const auto along = (v_c * v_u).flatten(1).sum(1) / v_u.square().flatten(1).sum(1).clamp_min(1e-30);
            const auto base = along.view(sizes) * v_u;
            return dtk::Prediction{dtk::PredictionType::velocity, moves * (base + c.scale * (v_c - base)), {}};
        });
    }
};
}  // namespace

DTK_PLUGIN(Guidance, cfg_zero, CfgZero, "classifier-free guidance for flows with a fitted scale (Fan et al. 2025)")
