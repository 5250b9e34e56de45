// Adaptive projected guidance. With x̂_0 told and not told the condition, D_c and D_u:
//   Δ ← D_c − D_u + β·Δ of the step before,   Δ ← Δ·min(1, r/‖Δ‖),   Δ = Δ_∥ + Δ_⊥ along and across D_c
//   D = D_c + (s − 1)·(Δ_⊥ + η·Δ_∥)
// Sadat, Hilliges & Weber, "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models",
// 2024, algorithm 1. With η = 1, β = 0 and no limit it is classifier_free.
#include <dtk/guidance.hpp>

namespace {

using at::Tensor;

struct Apg final : dtk::Guidance {
    struct Config {
        double scale = 4, eta = 0, momentum = 0, norm = 0;
        void fields(dtk::Fields& f) {
            f("scale", scale, dtk::any_number(), "s; 1: no guidance");
            f("eta", eta, dtk::any_number(), "η, the share of what lies along the conditional answer");
            f("momentum", momentum, dtk::inside(-1, 1), "β, what is kept of the step before; the paper's −0.75 … 0");
            f("norm", norm, dtk::at_least(0), "r, the largest norm of Δ; 0: no limit");
        }
    } c;
    explicit Apg(const Config& config) : c(config) {}
    bool needs_null_condition() const override { return c.scale != 1; }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.scale == 1) return denoise;
        return denoise.replaced([denoise, c = c](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto [with, without] = dtk::both_halves(denoise, x, t, condition);
            const auto x0_of = [&](const dtk::Prediction& prediction) {
                return denoise.process().convert(prediction, dtk::PredictionType::x0, x, t);
            };
            const auto x0 = x0_of(with);
            auto delta = x0 - x0_of(without);

            if (c.momentum != 0 && condition.trajectory) {
                const auto found = condition.trajectory->before.find("apg");
                if (found != condition.trajectory->before.end()) delta = delta + c.momentum * found->second;
                condition.trajectory->now["apg"] = delta;
            }
            const auto sum = [](const Tensor& value) {
                std::vector<std::int64_t> sizes(static_cast<std::size_t>(value.dim()), 1);
                sizes[0] = -1;
                return value.flatten(1).to(at::kDouble).sum(1).view(sizes);
            };
            if (c.norm > 0) delta = delta * (c.norm / sum(delta.square()).sqrt()).clamp_max(1).to(x.scalar_type());
            const auto along = (sum(delta * x0) / sum(x0.square()).clamp_min(1e-300)).to(x.scalar_type()) * x0;
            return dtk::Prediction{dtk::PredictionType::x0, x0 + (c.scale - 1) * (delta - along + c.eta * along),
                                   with.variance};
        });
    }
};
}  // namespace

DTK_PLUGIN(Guidance, apg, Apg, "guidance across the conditional answer only (Sadat et al. 2024)")
