// L = |x − D(z)|/s + log s + (λ/d) KL(N(μ, ς²) ‖ N(0, I)) + w a L_G,   z = μ + ς ε,   (μ, ς²) = E(x), per element
// with one learned s for all; with `critic` > 0 a critic C of patches against it,
//   L_G = −C(D(z)),   L_C = ½ (max(0, 1 − C(x)) + max(0, 1 + C(D(z)))),   a = ‖∂L_rec/∂W‖/(‖∂L_G/∂W‖ + 10⁻⁴),
// a at most 10⁴, W the last weights of the model, so that both pull there alike. Rombach et al., "High-Resolution Image
// Synthesis with Latent Diffusion Models", 2022, section 3.1 and appendix G, and Esser, Rombach & Ommer, "Taming
// Transformers for High-Resolution Image Synthesis", 2021, eq. 7. There the critic sets in after 50,001 steps: here in
// a stage of its own, which begins as the one without (`init`).
#include <torch/csrc/autograd/autograd.h>

#include <dtk/codec.hpp>
#include <dtk/layers.hpp>
#include <dtk/loss.hpp>

namespace {

using at::Tensor;

/// Is each patch of an image from the data? Convolutions of stride 2, with a slope of 0.2 for what is negative.
struct PatchCritic final : dtk::Module {
    PatchCritic(const dtk::Random& init, std::int64_t channels, std::int64_t width, std::int64_t levels) {
        for (std::int64_t i = 0; i < levels; ++i, channels = width, width *= 2)
            layers_.push_back(child<dtk::Conv2d>("conv" + std::to_string(i), init, channels, width, 3, 2));
        out_ = child<dtk::Conv2d>("out", init, channels, 1, 3);
    }
    Tensor operator()(const Tensor& x) const {
        auto h = dtk::to_image_layout(x);
        for (const auto& layer : layers_) h = at::leaky_relu((*layer)(h), 0.2);
        return (*out_)(h);
    }
    std::vector<std::shared_ptr<dtk::Conv2d>> layers_;
    std::shared_ptr<dtk::Conv2d> out_;
};

/// log s
struct LearnedScale final : dtk::Module {
    LearnedScale() : log(&parameter("log", at::zeros({}))) {}
    Tensor* log;
};

struct AutoencoderKl final : dtk::Loss {
    struct Config {
        double kl = 1e-6, critic = 0;
        std::int64_t critic_channels = 32, critic_levels = 2;
        void fields(dtk::Fields& f) {
            f("kl", kl, dtk::at_least(0), "λ");
            f("critic", critic, dtk::at_least(0), "w; 0: there is no critic");
            f("critic_channels", critic_channels, dtk::at_least(1),
              "channels of its first level; each has twice as many");
            f("critic_levels", critic_levels, dtk::in(1, 6), "levels, each of half the size");
        }
    } c;
    AutoencoderKl(const Config& config, const dtk::BuildContext& context)
        : c(config), network_(dynamic_cast<const dtk::Autoencoder*>(&context.model())) {
        if (!network_)
            throw dtk::Error("loss `autoencoder_kl` is for models that have latents, and this one has none",
                             "use one such as autoencoder_kl");
        scale_ = child("scale", std::make_shared<LearnedScale>());
        if (c.critic == 0) return;
        if (network_->shape().size() != 3)
            throw dtk::Error("`critic` judges patches of images, and these are none", "leave it out");
        critic_ = child<PatchCritic>("critic", context.random("init").stream("loss"), network_->shape().front(),
                                     c.critic_channels, c.critic_levels);
    }

    dtk::LossValues operator()(const dtk::Denoiser&, const dtk::Batch& batch, const dtk::Time&,
                               const dtk::Random& random) const override {
        const auto& x = batch.x;
        const double d = static_cast<double>(x[0].numel());
        const auto [mean, variance] = network_->encode(x);
        const auto z = variance.defined()
                           ? mean + variance.sqrt() * random.stream("z").normal(mean.sizes(), mean.options())
                           : mean;
        const auto made = network_->decode(z);
        const auto error = (x - made).abs().flatten(1).mean(1);
        auto value = error * (-scale_->log->detach()).exp();
        dtk::LossValues all;
        // What each example's error says of s.
        all.objectives.push_back(
            {.value = error.detach() * (-*scale_->log).exp() + *scale_->log, .trains = "loss.scale"});
        all.parts.emplace_back("error", error.detach());
        if (variance.defined()) {
            const auto kl = 0.5 / d * (mean.square() + variance - 1 - variance.log()).flatten(1).sum(1);
            value = value + c.kl * kl;
            all.parts.emplace_back("kl", kl.detach());
        }
        if (critic_) {
            const auto generator = -judged(made);
            value = value + c.critic * balance(value, generator) * generator;
            all.objectives.push_back(
                {.value = 0.5 * (at::relu(1 - patches(x)) + at::relu(1 + patches(made.detach()))).flatten(1).mean(1),
                 .trains = "loss.critic"});
            all.parts.emplace_back("critic", all.objectives.back().value.detach());
        }
        all.objectives.push_back({.value = value, .trains = "model"});
        return all;
    }
    bool draws_times() const override { return false; }

 private:
    Tensor patches(const Tensor& x) const { return (*critic_)(x); }
    Tensor judged(const Tensor& x) const { return patches(x).flatten(1).mean(1); }

    /// How much the critic's word weighs, so that it moves the last weights as much as the error does.
    Tensor balance(const Tensor& error, const Tensor& generator) const {
        if (!error.requires_grad()) return at::ones({}, error.options());
        const auto last = network_->parameters().at(network_->parameters().size() - 2);
        const auto norm = [&](const Tensor& of) {
            return torch::autograd::grad({of.mean()}, {last}, {}, /*retain_graph=*/true).front().norm();
        };
        return (norm(error) / (norm(generator) + 1e-4)).clamp(0, 1e4).detach();
    }

    const dtk::Autoencoder* network_;
    std::shared_ptr<LearnedScale> scale_;
    std::shared_ptr<PatchCritic> critic_;
};
}  // namespace

DTK_PLUGIN(Loss, autoencoder_kl, AutoencoderKl,
           "absolute error of a learned scale, a little KL, and a critic of patches (Rombach et al. 2022)")
