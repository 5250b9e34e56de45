// Heun's method along the grid; where it comes to an interval's lower noise level, K times over: noise back up to the
// higher one, and n steps of Heun's method down again, by which errors of earlier steps are forgotten:
//   x̃ ← x̃ + √(σ_high² − σ_low²) z,   x̃ ← Heun(σ_high → σ_low),   x̃ = x/α,  σ̃ = σ/α
// Xu, Deng, Cheng, Tian, Liu & Jaakkola, "Restart Sampling for Improving Generative Processes", 2023, algorithm 1. The
// lower level is that of the grid's time nearest to the one that is named; the steps between are as `karras` with ρ
// = 7.
#include <cmath>

#include <fmt/format.h>

#include <dtk/ratio_steps.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Restart final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::vector<dtk::Row> intervals{{0.06, 0.3, 2, 3}};
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("intervals", intervals, dtk::above(0), "each [σ_low, σ_high, K, n]: σ/α at both ends, how often, steps");
        }
    } c;
    Restart(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        dtk::needs_times_between(context.process(), "restart");
        const auto& noise = context.process().levels();
        const auto grid = times(context.process());
        for (const auto& row : c.intervals) {
            if (row.size() != 4 || row[0] >= row[1] || std::floor(row[2]) != row[2] || std::floor(row[3]) != row[3])
                throw dtk::Error(
                    "an interval of restart is not [σ_low, σ_high, K, n] with σ_low < σ_high and whole K, n",
                    "write, for example, intervals = [[0.06, 0.3, 2, 3]]");
            if (row[1] > noise.ratio(noise.last()))
                throw dtk::Error(fmt::format("restart cannot go back to σ/α = {}, more noise than the process has, {}",
                                             row[1], noise.ratio(noise.last())),
                                 "lower σ_high");
            if (!(noise.ratio(grid[nearest(noise, grid, row[0])]) < row[1]))
                throw dtk::Error(
                    fmt::format("the grid comes no nearer to σ/α = {} than {}, from where restart cannot go up to {}",
                                row[0], noise.ratio(grid[nearest(noise, grid, row[0])]), row[1]),
                    "use more steps, a grid with less noise at its end, or a higher σ_high");
        }
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = dtk::heun_step(denoise, x, t, s);
            for (std::size_t k = 0; k < c.intervals.size() && !last; ++k) {
                if (nearest(noise, times, c.intervals[k][0]) != static_cast<std::size_t>(i) + 1) continue;
                x = restarted(denoise, x, s, c.intervals[k], random.stream(fmt::format("interval {}", k)));
            }
            done(i + 1, x);
        }
        return x;
    }

 private:
    static std::size_t nearest(const dtk::NoiseLevels& noise, const std::vector<double>& times, double ratio) {
        const auto off = [&](std::size_t i) { return std::abs(std::log(noise.ratio(times[i]) / ratio)); };
        std::size_t best = 0;
        for (std::size_t i = 1; i < times.size(); ++i)
            if (off(i) < off(best)) best = i;
        return best;
    }

    static at::Tensor restarted(const dtk::Denoiser& denoise, at::Tensor x, double s, const dtk::Row& interval,
                                const dtk::Random& random) {
        const auto& noise = denoise.noise();
        const double low = noise.ratio(s), high = interval[1], n = interval[3], rho = 7;
        const auto time = [&](double step) {
            const double root = std::pow(high, 1 / rho) + step / n * (std::pow(low, 1 / rho) - std::pow(high, 1 / rho));
            return step == n ? s : noise.time_of_ratio(std::pow(root, rho));
        };
        for (std::int64_t k = 0; static_cast<double>(k) < interval[2]; ++k) {
            const auto z = random.step(k).normal(x.sizes(), x.options());
            x = noise.alpha(time(0)) * (x / noise.alpha(s) + std::sqrt(high * high - low * low) * z);
            for (double step = 0; step < n; ++step) x = dtk::heun_step(denoise, x, time(step), time(step + 1));
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, restart, Restart, "Heun's method with returns to more noise (Restart, Xu et al. 2023)")
