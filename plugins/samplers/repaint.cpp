// Down the grid t_N … t_1 and to clean data, each step with what is known set to a noisy value:
//   x_s ~ p(x_s | x_t),   x_s[known] ~ q(x_s | x_0 = y)
// and from every j-th level before clean data, U − 1 times, j levels back up:
//   x_t ~ q(x_t | x_s) = N(α_t/α_s x_s, σ_t² − (α_t/α_s)² σ_s²)
// Lugmayr, Danelljan, Romero, Yu, Timofte & Van Gool, "RePaint: Inpainting using Denoising Diffusion Probabilistic
// Models", 2022, algorithm 1, with the jumps of its appendix: length j = `jump`, U = `repeats`. U = 1 is `clamp` with
// `noised`.
//
// Biased, even with a perfect network: going back and forth lets what is unknown settle to what is known, so the mean
// comes close with more repeats, but each of them loses some of the spread that steps of a finite length lose, so more
// repeats need more steps. Of two unit Gaussians with correlation 0.8, one known to be 1.2, jumps of one step make the
// other, with ten repeats, N(0.92, 0.33) in 250 steps and N(0.92, 0.36) in 1000, with a hundred N(0.96, 0.25) and
// N(0.96, 0.32), where N(0.96, 0.36) is right.
#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include <dtk/observation.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

/// The levels in the order of the paper's schedule, 0 at the first time of the grid and n at clean data: one on is a
/// step, `jump` back is noise.
std::vector<std::size_t> jumping(std::size_t n, std::size_t jump, std::size_t repeats, bool repeat_last) {
    std::vector<std::size_t> jumps_left(n + 1, 0), levels{0};
    for (std::size_t t = 0; t + jump < n; t += jump) jumps_left[n - 1 - t] = repeats - 1;
    if (repeat_last) jumps_left[n] = repeats - 1;
    while (levels.back() < n || jumps_left[n] > 0) {
        const auto now = levels.back();
        levels.push_back(jumps_left[now] > 0 ? now - std::min(jump, now) : now + 1);
        if (jumps_left[now] > 0) --jumps_left[now];
    }
    return levels;
}

struct Repaint final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t repeats = 10, jump = 10;
        bool repeat_last = false;
        std::string variance = "small";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("repeats", repeats, dtk::at_least(1),
              "U, how often each step is taken; the network is asked so much more often");
            f("jump", jump, dtk::at_least(1), "j, how many levels of the grid it goes back up at a time");
            f("repeat_last", repeat_last, "go back from x_0, too; the paper does not");
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
        }
    } c;
    Repaint(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config), seen_(dtk::observed_elements(context, "repaint")) {
        context.process().accept_variance(c.variance);
        if (seen_.sd() > 0)
            throw dtk::Error(
                fmt::format("repaint takes what was observed for exact, but its error has `sd` {}", seen_.sd()),
                "use sampler multiply, guidance such as tmpd, or sd = 0");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        const auto& process = denoise.gaussian();
        const auto [known, y] = dtk::known_elements(seen_, dtk::observed(denoise.condition()), x);
        const auto painted = [&, &known = known, &y = y](const Tensor& x, double t, const dtk::Random& random) {
            return at::where(known, process.noised(y, t, random.stream("known")).x, x);
        };
        const auto steps = dtk::steps_along(times);
        const auto levels =
            jumping(steps.size(), static_cast<std::size_t>(c.jump), static_cast<std::size_t>(c.repeats), c.repeat_last);
        std::vector<std::int64_t> taken(steps.size(), 0);  // how often each step was
        std::vector<std::size_t> last_arrival(steps.size() + 1, 0);
        for (std::size_t k = 0; k + 1 < levels.size(); ++k)
            if (levels[k + 1] > levels[k]) last_arrival[levels[k + 1]] = k;
        x = painted(x, times.front(), random);
        for (std::size_t k = 0; k + 1 < levels.size(); ++k) {
            const auto from = levels[k], to = levels[k + 1];
            const auto& step = steps[std::min(from, to)];
            if (to > from) ++taken[from];
            // Draws of a step that is taken again are other ones.
            const auto& latest = steps[std::max(from, to) - 1];
            const auto turn = taken[static_cast<std::size_t>(latest.i)];
            const auto draw = turn == 1 ? random : random.stream(fmt::format("repeat {}", turn));
            if (to > from) {
                x = painted(denoise.reverse_step(x, step.t, step.s, c.variance, draw.step(step.i)), step.s,
                            draw.step(step.i + 1));
                if (last_arrival[to] == k) done(step.i + 1, x);
            } else {
                const auto [mean, variance] = process.forward(x, latest.s, step.t);
                x = mean + variance.sqrt() * draw.stream("back").step(latest.i).normal(x.sizes(), x.options());
            }
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Sampler, repaint, Repaint,
           "inpainting that goes back up the noise and down again (RePaint, Lugmayr et al. 2022); biased even with a "
           "perfect network, less so with more repeats and steps")
