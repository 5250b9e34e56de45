// for t = t_N … t_1:  x_s ~ p(x_s | x_t),  the process's reverse step, t → s along the grid
// Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, algorithm 2; strided as Nichol & Dhariwal 2021.
// With `noise_scale` the noise of each step is multiplied by a number, as those who draw proteins do (Genie 0.6,
// RFdiffusion 0 … 1): samples are then no longer draws of the learned law, but likelier and less diverse ones.

#include <dtk/noise_scale.hpp>
#include <dtk/sampler.hpp>

namespace {
struct Ddpm final : dtk::Sampler {
    struct Config : dtk::Sampler::Config {
        std::string variance = "small";
        double noise_scale = 1;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
            f("noise_scale", noise_scale, dtk::at_least(0), "factor of the noise of each step; 1: the process's own");
        }
    } c;
    Ddpm(const Config& config, const dtk::BuildContext& context) : Sampler(config, context), c(config) {
        context.process().accept_variance(c.variance);
        const auto* process = &context.process();
        if (c.noise_scale != 1 && !dynamic_cast<const dtk::GaussianProcess*>(process) &&
            !dynamic_cast<const dtk::ScaledNoise*>(process))
            throw dtk::Error("the noise of this process's steps cannot be scaled", "leave `noise_scale` at 1");
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = c.noise_scale == 1 ? denoise.reverse_step(x, t, s, c.variance, random.step(i))
                                   : scaled_step(denoise, x, t, s, random.step(i));
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }

 private:
    at::Tensor scaled_step(const dtk::Denoiser& denoise, const at::Tensor& x, double t, double s,
                           const dtk::Random& random) const {
        if (const auto* process = dynamic_cast<const dtk::ScaledNoise*>(&denoise.process());
            process && !denoise.shifts())
            return process->scaled_step(x, denoise(x, t), t, s, c.variance, random, c.noise_scale);
        const auto step = denoise.reverse(x, t, s, c.variance);
        return step.mean + c.noise_scale * step.variance.sqrt() * random.normal(x.sizes(), x.options());
    }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Sampler, ddpm, Ddpm, "ancestral sampling (Ho et al. 2020); elsewhere: ancestral")
