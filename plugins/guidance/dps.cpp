// Towards y = A(x_0) + sd·z, as if x_0 were x̂_0:
//   score:  ∇ log q(x_t | y) ≈ ∇ log q(x_t) − ζ ∇ ‖y − A(x̂_0)‖²/(2 sd²)
//   step:   μ ← μ − ζ/‖y − A(x̂_0)‖ ∇ ‖y − A(x̂_0)‖² of every reverse step N(μ, Σ), whatever its length and sd
// with ∇ through the network. Chung, Kim, McCann, Klasky & Ye, "Diffusion Posterior Sampling for General Noisy Inverse
// Problems", 2022; `step` is their algorithm 1 with their choice of its step size.
//
// Biased, even with a perfect network and any number of steps: what x_t leaves open of x_0 is taken for nothing, so y
// pulls too hard while there is noise. By the flow from σ = 80, ζ = 1, N(0, 1) seen at 1 with sd 0.5 comes out as
// N(1.273, 0.135²), where N(0.800, 0.447²) is right, and N(0.3, 0.5²) seen at 1 with sd 0.2 as N(1.177, 0.022²), where
// N(0.903, 0.186²) is. See `tmpd`.
#include <string>

#include <dtk/guidance.hpp>
#include <dtk/linearised.hpp>

namespace {

using at::Tensor;

struct Dps final : dtk::Guidance {
    struct Config {
        double scale = 1;
        std::string form = "score";
        void fields(dtk::Fields& f) {
            f("scale", scale, dtk::at_least(0), "ζ; 0: no guidance");
            f("form", form, {"score", "step"}, "move the score, or each reverse step by a length that y alone says");
        }
    } c;
    Dps(const Config& config, const dtk::BuildContext& context) : c(config), seen_(dtk::observation(context, "dps")) {
        dtk::gaussian(context.process(), "guidance `dps`");
        if (c.form == "score" && seen_.sd() == 0)
            throw dtk::Error("dps divides by the variance of y's error, and y is exact",
                             "say in `sd` of [observation] what error y has, or use form = \"step\", or pigdm or tmpd");
    }
    bool moves_steps() const override { return c.form == "step"; }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.scale == 0) return denoise;
        if (c.form == "step")
            return denoise.shifted([this, denoise](const Tensor& x, const dtk::Normal& step, const dtk::Time& t,
                                                   const dtk::Time&, const dtk::Condition& condition) {
                const auto at = dtk::observed_estimate(denoise, seen_, x, t, condition);
                const auto length = at.residual.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
                return step.mean + at.back(2 * c.scale * at.residual / length);
            });
        const double force = c.scale / (seen_.sd() * seen_.sd());
        return dtk::pulled(denoise, seen_,
                           [force](const dtk::ObservedEstimate& at, const dtk::Coefficient&, const dtk::Coefficient&) {
                               return force * at.residual;
                           });
    }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Guidance, dps, Dps, "towards what is known, as if x_0 were its estimate (DPS, Chung et al. 2022)")
