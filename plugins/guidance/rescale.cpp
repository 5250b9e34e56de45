// Classifier-free guidance whose answer keeps the spread of the conditional one: x = u + s·(c − u),
//   x' = x·sd(c)/sd(x),   x ← φ·x' + (1 − φ)·x,   sd over all elements of an example
// Lin, Liu, Li & Yang, "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2023, eqs. 14–16.
#include <dtk/guidance.hpp>

namespace {
struct Rescale final : dtk::Guidance {
    struct Config {
        double scale = 7.5, phi = 0.7;
        void fields(dtk::Fields& f) {
            f("scale", scale, dtk::any_number(), "s; 1: no guidance");
            f("phi", phi, dtk::in(0, 1), "φ, the share of the rescaled answer");
        }
    } c;
    explicit Rescale(const Config& config) : c(config) {}
    bool needs_null_condition() const override { return c.scale != 1; }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.scale == 1) return denoise;
        return denoise.replaced([denoise, s = c.scale, phi = c.phi](const at::Tensor& x, const dtk::Time& t,
                                                                    const dtk::Condition& condition) {
            const auto [with, without] = dtk::both_halves(denoise, x, t, condition);
            const auto guided = without.value + s * (with.value - without.value);
            const auto spread = [&](const at::Tensor& value) {
                std::vector<std::int64_t> sizes(static_cast<std::size_t>(value.dim()), 1);
                sizes[0] = -1;
                return value.flatten(1).std(1).view(sizes);
            };
            const auto rescaled = guided * (spread(with.value) / spread(guided).clamp_min(1e-12));
            return dtk::Prediction{with.type, phi * rescaled + (1 - phi) * guided, with.variance};
        });
    }
};
}  // namespace

DTK_PLUGIN(Guidance, rescale, Rescale, "classifier-free guidance that keeps the answer's spread (Lin et al. 2023)")
