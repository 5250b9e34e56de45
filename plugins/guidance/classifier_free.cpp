// ε̂ = ε_u + s·(ε_c − ε_u), the answers told and not told the condition, in the network's own type of prediction.
// s = 1 is the conditional network alone, s = 0 the unconditional one; only what is needed is asked.
// Ho & Salimans, "Classifier-Free Diffusion Guidance", 2022, eq. 6, whose w is s − 1.
//
// It does not sample p_c^s p_u^{1−s}: of N(μ_c, s_c²) and N(μ_u, s_u²) the flow ends with the standard deviation
// s_c^s s_u^{1−s} (Bradley & Nakkiran, "Classifier-Free Guidance is a Predictor-Corrector", 2024).
#include <dtk/guidance.hpp>

namespace {
struct ClassifierFree final : dtk::Guidance {
    struct Config {
        double scale = 2;
        void fields(dtk::Fields& f) { f("scale", scale, dtk::any_number(), "s; 1: no guidance, 0: no condition"); }
    } c;
    explicit ClassifierFree(const Config& config) : c(config) {}
    bool needs_null_condition() const override { return c.scale != 1; }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.scale == 1) return denoise;
        return denoise.replaced(
            [denoise, s = c.scale](const at::Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
                if (s == 0) return denoise(x, t, condition.null(x.size(0)));
                const auto [with, without] = dtk::both_halves(denoise, x, t, condition);
                return dtk::Prediction{with.type, without.value + s * (with.value - without.value), with.variance};
            });
    }
};
}  // namespace

DTK_PLUGIN(Guidance, classifier_free, ClassifierFree, "away from the unconditional answer (Ho & Salimans 2022)")
