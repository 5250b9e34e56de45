// x_s' = x_t + (s' − t)·u(x_t, s', t),   x_s ~ q(x_s | x_s'),   σ_s'/α_s' = √(1 − γ²) σ_s/α_s
// Steps of a network that is told where they end (loss `meanflow`): u is its average velocity, times as u = (t+1)/T.
// γ = 0 goes along the flow from time to time (Geng et al., "Mean Flows for One-step Generative Modeling", 2025,
// algorithm 2, and its steps in a row), γ = 1 to the data and back into noise, as `consistency` does (Kim et al.,
// "Consistency Trajectory Models", 2024, algorithm 3). A network that is told no end answers its velocity, and this is
// Euler's method.
#include <cmath>

#include <dtk/flow_map.hpp>
#include <dtk/ratio_steps.hpp>
#include <dtk/sampler.hpp>

namespace {
struct FlowMap final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        double gamma = 0;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("gamma", gamma, dtk::in(0, 1), "γ, how much of the noise of each step is new");
        }
    } c;
    FlowMap(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        context.process().accept(dtk::PredictionType::velocity);
        if (c.gamma > 0) dtk::needs_times_between(context.process(), "flow_map with gamma");
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& process = denoise.gaussian();
        const auto T = static_cast<double>(process.steps());
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const double end = last || c.gamma == 0 ? s : less_noisy(denoise.noise(), s);
            const auto u = dtk::leading_to(denoise, end, x.size(0)).velocity(x, t);
            x = x + ((end - t) / T) * u;
            if (end < s) {
                const auto step = process.forward(x, end, s);
                x = step.mean + step.variance.sqrt() * random.step(i).normal(x.sizes(), x.options());
            }
            done(i + 1, x);
        }
        return x;
    }

 private:
    /// The time from which noise up to s is new but for a share √(1 − γ²).
    double less_noisy(const dtk::NoiseLevels& noise, double s) const {
        const double kept = std::sqrt(1 - c.gamma * c.gamma);
        return kept == 0 ? -1 : noise.time_of_ratio(kept * noise.ratio(s));
    }
};
}  // namespace

DTK_PLUGIN(Sampler, flow_map, FlowMap,
           "steps of an average velocity, told where they end (Geng et al. 2025); elsewhere: meanflow, ctm")
