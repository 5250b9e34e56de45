// for t = t_N … t_1:  x_s ~ p(x_s | x_t),  the process's reverse step, t → s along the grid
// Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, algorithm 2; strided as Nichol & Dhariwal 2021.

#include <dtk/sampler.hpp>

namespace {
struct Ddpm final : dtk::Sampler {
    struct Config : dtk::Sampler::Config {
        std::string variance = "small";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
        }
    } c;
    Ddpm(const Config& config, const dtk::BuildContext& context) : Sampler(config, context), c(config) {
        context.process().accept_variance(c.variance);
    }

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = denoise.reverse_step(x, t, s, c.variance, random.step(i));
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Sampler, ddpm, Ddpm, "ancestral sampling (Ho et al. 2020); elsewhere: ancestral")
