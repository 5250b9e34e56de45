// x_s = α_s x̂_0 + √(σ_s² − ς²) ε̂ + ς z,   ς = η·√β̃(t, s)
// Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2020, eqs. 12 and 16; η = 1 is `ddpm` with the small
// variance.
#include <cmath>

#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Ddim final : dtk::Sampler {
    struct Config : dtk::Sampler::Config {
        double eta = 0;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("eta", eta, dtk::in(0, 1), "share of the ancestral noise; 0: deterministic");
        }
    } c;
    Ddim(const Config& config, const dtk::View& view) : Sampler(config, view), c(config) {
        dtk::gaussian(view.process(), "ddim");
    }

    at::Tensor sample(const dtk::Predict& predict, const dtk::Process& process, const std::vector<double>& times,
                      at::Tensor x, const dtk::Context& context, const dtk::Random& random,
                      const dtk::Watch& watch) const override {
        const auto& levels = process.levels();
        for (std::size_t i = 0; i < times.size(); ++i) {
            const auto t = static_cast<std::int64_t>(times[i]);
            const auto s = i + 1 < times.size() ? static_cast<std::int64_t>(times[i + 1]) : -1;
            const auto time = dtk::rows_at(times[i], x);
            const auto prediction = predict(x, time, context);
            const auto x0 = process.convert(prediction, dtk::Predicts::x0, x, time);
            const auto eps = process.convert(prediction, dtk::Predicts::eps, x, time);

            const double varsigma = c.eta * std::sqrt(levels.posterior_variance(t, s));
            x = levels.alpha(s) * x0 + std::sqrt(levels.sigma2(s) - varsigma * varsigma) * eps;
            if (varsigma > 0) x = x + varsigma * random.step(i).normal(x.sizes(), x.options());
            if (watch) watch(i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, ddim, Ddim, "deterministic, or with a share η of the noise (Song et al. 2020)")
