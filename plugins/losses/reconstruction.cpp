// L = ‖x − D(z)‖²/d + λ KL(N(μ, ς²) ‖ N(0, I))/d,   z = μ + ς ε,   (μ, ς²) = E(x), of a model that has latents; without
// a variance the first term alone. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models",
// 2022, section 3.1, where λ is tiny.
#include <dtk/codec.hpp>
#include <dtk/loss.hpp>

namespace {

using at::Tensor;

struct Reconstruction final : dtk::Loss {
    struct Config {
        double kl = 1e-6;
        void fields(dtk::Fields& f) { f("kl", kl, dtk::at_least(0), "λ"); }
    } c;
    Reconstruction(const Config& config, const dtk::BuildContext& context)
        : c(config), network_(dynamic_cast<const dtk::Autoencoder*>(&context.model())) {
        if (!network_)
            throw dtk::Error("loss `reconstruction` is for models that have latents, and this one has none",
                             "use one such as linear_autoencoder");
    }
    dtk::LossValues operator()(const dtk::Denoiser&, const dtk::Batch& batch, const dtk::Time&,
                               const dtk::Random& random) const override {
        const auto [mean, variance] = network_->encode(batch.x);
        const auto z = variance.defined()
                           ? mean + variance.sqrt() * random.stream("z").normal(mean.sizes(), mean.options())
                           : mean;
        const auto error = (batch.x - network_->decode(z)).square().flatten(1).mean(1);
        if (!variance.defined()) return {{{.value = error}}, {{"error", error.detach()}}};
        const double d = static_cast<double>(batch.x[0].numel());
        const auto kl = 0.5 / d * (mean.square() + variance - 1 - variance.log()).flatten(1).sum(1);
        return {{{.value = error + c.kl * kl}}, {{"error", error.detach()}, {"kl", kl.detach()}}};
    }
    bool draws_times() const override { return false; }

 private:
    const dtk::Autoencoder* network_;
};
}  // namespace

DTK_PLUGIN(Loss, reconstruction, Reconstruction,
           "squared error of an autoencoder's answer, with a little KL where its latents have a variance")
