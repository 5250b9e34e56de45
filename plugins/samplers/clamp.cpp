// for t = t_N … t_1:  x_t[known] ← y,  or with `noised` a fresh draw of q(x_t[known] | x_0 = y);  x_s ~ p(x_s | x_t)
// at the end x_0[known] ← y.
// Inpainting as in Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", 2015,
// section 2.5 and its code, where r(x) is a delta; `noised` as in Song & Ermon, "Generative Modeling by Estimating
// Gradients of the Data Distribution", 2019, algorithm 2.
//
// Biased, even with a perfect network and any number of steps: what is unknown is drawn as if the known elements of x_t
// had come from its own chain. A y without noise looks like a noisy one that happens to lie there; a fresh noise at
// each step is not the one the rest of x_t goes with. Both pull too weakly. Of two unit Gaussians with correlation 0.8,
// one known to be 1.2, the other comes out as N(0.73, 0.49), `noised` as N(0.60, 0.49), where N(0.96, 0.36) is right.
// See `repaint`, and model `exact_conditional`.

#include <fmt/format.h>

#include <dtk/observation.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct Clamp final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        bool noised = false;
        std::string variance = "small";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("noised", noised, "set what is known to a noisy value, fresh at each step, instead of y itself");
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
        }
    } c;
    Clamp(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config), seen_(dtk::observed_elements(context, "clamp")) {
        context.process().accept_variance(c.variance);
        if (seen_.sd() > 0)
            throw dtk::Error(
                fmt::format("clamp takes what was observed for exact, but its error has `sd` {}", seen_.sd()),
                "use sampler multiply, guidance such as tmpd, or sd = 0");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        const auto [known, y] = dtk::known_elements(seen_, dtk::observed(denoise.condition()), x);
        const auto clamped = [&, &known = known, &y = y](const Tensor& x, double t, std::int64_t step) {
            const auto draw = random.stream("known").step(step);
            return at::where(known, c.noised ? denoise.process().noised(y, t, draw).x : y, x);
        };
        x = clamped(x, times.front(), 0);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = clamped(denoise.reverse_step(x, t, s, c.variance, random.step(i)), s, i + 1);
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Sampler, clamp, Clamp,
           "inpainting by setting what is known at every step (Sohl-Dickstein et al. 2015); biased even with a perfect "
           "network")
