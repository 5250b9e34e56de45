// L = (−log N(x; x̂(z), s²) + β KL(N(μ, ς²) ‖ N(0, I)))/d,   z = μ + ς ε,   (μ, log ς²) = E(x)
// Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, eq. 10. x̂ and s² are the model's answer to z in the place
// of x_T (of whose further numbers it says nothing: they are drawn); a model without a variance shares one that the
// loss learns (Rybkin, Daniilidis & Levine, "Simple and Effective VAE Training with Calibrated Decoders", 2021). The
// encoder E is the loss's own. Sample with `decode`.
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include <dtk/encoder.hpp>
#include <dtk/loss.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

struct Vae final : dtk::Loss {
    struct Config {
        dtk::Encoder::Config encoder;
        std::int64_t latent = 0;
        double beta = 1;
        void fields(dtk::Fields& f) {
            f("latent", latent, dtk::at_least(0), "numbers that z has; 0: as many as an example");
            f("beta", beta, dtk::at_least(0), "β");
            encoder.fields(f);
        }
    } c;
    Vae(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::gaussian(context.process(), "loss `vae`");
        const auto space = context.space();
        if (c.latent > space.elements())
            throw dtk::Error(
                fmt::format("`latent` = {} is more than the {} numbers of x_T", c.latent, space.elements()),
                "lower it");
        if (c.latent == 0) c.latent = space.elements();
        encoder_ =
            child<dtk::Encoder>("encoder", context.random("init").stream("loss"), c.encoder, space.shape, 2 * c.latent);
        log_variance_ = &parameter("log_variance", at::zeros({}));
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time&,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto last = process.levels().last();
        const auto& x = batch.x;

        // z of the examples, and what it does not say of x_T.
        const auto code = (*encoder_)(x).to(x.scalar_type()).view({x.size(0), 2, c.latent});
        const auto mean = code.select(1, 0), log_variance = code.select(1, 1);
        const auto z = mean + (0.5 * log_variance).exp() * random.stream("z").normal(mean.sizes(), mean.options());
        const auto rest = random.stream("rest").normal({x.size(0), x.numel() / x.size(0) - c.latent}, x.options());
        const auto xT = (process.levels().prior_sd(last) * at::cat({z, rest}, 1)).view_as(x);

        // The two terms of the bound, in nats.
        const auto made = denoise(xT, last);
        const auto x0 = process.convert(made, dtk::PredictionType::x0, xT, last);
        const auto s2 = made.variance ? *made.variance : log_variance_->exp();
        const auto reconstruction =
            0.5 * ((2 * std::numbers::pi * s2).log() + (x - x0).square() / s2).flatten(1).sum(1);
        const auto kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1);
        const double d = static_cast<double>(x.numel()) / static_cast<double>(x.size(0));
        return {{{.value = (reconstruction + c.beta * kl) / d}},
                {{"reconstruction", reconstruction / d}, {"kl", kl / d}}};
    }
    bool draws_times() const override { return false; }

 private:
    std::shared_ptr<dtk::Encoder> encoder_;
    Tensor* log_variance_;
};
}  // namespace

DTK_PLUGIN(Loss, vae, Vae, "the bound of a variational auto-encoder, in nats per element (Kingma & Welling 2014)")
