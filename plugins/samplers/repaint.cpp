// for t = t_N … t_1, U times over:
//   x_s ~ p(x_s | x_t),   x_s[known] ~ q(x_s | x_0 = y)
//   but for the last time, back again:  x_t ~ q(x_t | x_s) = N(α_t/α_s x_s, σ_t² − (α_t/α_s)² σ_s²)
// Lugmayr, Danelljan, Romero, Yu, Timofte & Van Gool, "RePaint: Inpainting using Denoising Diffusion Probabilistic
// Models", 2022, algorithm 1, with jumps of one step of the grid. U = 1 is `clamp` with `noised`.
//
// Biased, even with a perfect network: going back and forth lets what is unknown settle to what is known, so the mean
// comes close with more repeats, but each of them loses some of the spread that steps of a finite length lose, so more
// repeats need more steps. Of two unit Gaussians with correlation 0.8, one known to be 1.2, ten repeats make the other
// N(0.92, 0.33) in 250 steps and N(0.92, 0.36) in 1000, a hundred N(0.96, 0.25) and N(0.96, 0.32), where N(0.96, 0.36)
// is right.

#include <fmt/format.h>

#include <dtk/dataset.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct Repaint final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t repeats = 10;
        bool repeat_last = false;
        std::string variance = "small";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("repeats", repeats, dtk::at_least(1),
              "U, how often each step is taken; the network is asked so much more often");
            f("repeat_last", repeat_last, "repeat the step to x_0, too; the paper does not");
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
        }
    } c;
    Repaint(const Config& config, const dtk::View& view)
        : GaussianSampler(config, view), c(config), seen_(dtk::observation(view.dataset(), "repaint")) {
        view.process().accept_variance(c.variance);
        if (seen_.sd > 0)
            throw dtk::Error(
                fmt::format("repaint takes what was observed for exact, but its error has `sd` {}", seen_.sd),
                "use sampler multiply, or sd = 0");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        const auto& process = denoise.gaussian();
        const auto known = seen_.known.to(x.device(), /*non_blocking=*/true) > 0;
        const auto y = seen_.value.to(x.options(), /*non_blocking=*/true).expand_as(x);
        const auto painted = [&](const Tensor& x, double t, const dtk::Random& random) {
            return at::where(known, process.noised(y, t, random.stream("known")).x, x);
        };
        x = painted(x, times.front(), random);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto repeats = last && !c.repeat_last ? 1 : c.repeats;
            for (std::int64_t u = 1; u <= repeats; ++u) {
                const auto draw = u == 1 ? random : random.stream(fmt::format("repeat {}", u));
                x = painted(denoise.reverse_step(x, t, s, c.variance, draw.step(i)), s, draw.step(i + 1));
                if (u == repeats) continue;
                const auto [mean, variance] = process.forward(x, s, t);
                x = mean + variance.sqrt() * draw.stream("back").step(i).normal(x.sizes(), x.options());
            }
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Sampler, repaint, Repaint,
           "inpainting with every step repeated (RePaint, Lugmayr et al. 2022); biased even with a perfect network, "
           "less so with more repeats and steps")
