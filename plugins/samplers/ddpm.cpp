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
    Ddpm(const Config& config, const dtk::View& view) : Sampler(config, view), c(config) {
        view.process().accept_variance(c.variance);
    }

    at::Tensor sample(const dtk::Predict& predict, const dtk::Process& process, const std::vector<double>& times,
                      at::Tensor x, const dtk::Context& context, const dtk::Random& random,
                      const dtk::Watch& watch) const override {
        for (std::size_t i = 0; i < times.size(); ++i) {
            const auto t = dtk::rows_at(times[i], x);
            const auto s = dtk::rows_at(i + 1 < times.size() ? times[i + 1] : -1, x);
            x = process.reverse_step(x, predict(x, t, context), t, s, c.variance, random.step(i));
            if (watch) watch(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Sampler, ddpm, Ddpm, "ancestral sampling (Ho et al. 2020)")
