// z ~ N((μ(x) − m_c)/s_c, ς²(x)/s_c²), x = D(s_c z + m_c): the latents of an autoencoder that an earlier stage trained,
// each channel at mean 0 and variance 1 as measured on training examples. Rombach et al., "High-Resolution Image
// Synthesis with Latent Diffusion Models", 2022, appendix G, where one number stands for all channels.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/codec.hpp>

namespace {

using at::Tensor;

struct Autoencoder final : dtk::Codec {
    struct Config {
        dtk::Reference of;
        bool scale = true;
        std::int64_t measure = 4096;
        void fields(dtk::Fields& f) {
            f.required("of", of, "the earlier stage or the run that trained it");
            f("scale", scale, "bring each channel to mean 0 and variance 1");
            f("measure", measure, dtk::at_least(2),
              "training examples that these are taken from, if there are as many");
        }
    };
    Autoencoder(const Config& config, const dtk::BuildContext& context)
        : network_(std::dynamic_pointer_cast<dtk::Autoencoder>(context.trained(config.of).model)) {
        if (!network_)
            throw dtk::Error(fmt::format("`of` = \"{}\" is no autoencoder", config.of.name()),
                             "name a stage or run whose model has latents, such as linear_autoencoder");
        const auto shape = context.dataset().shape();
        if (network_->shape() != shape)
            throw dtk::Error(fmt::format("the autoencoder is for examples of {}, and the data's are {}",
                                         fmt::join(network_->shape(), "×"), fmt::join(shape, "×")),
                             "name one that was trained on these data");
        if (config.scale)
            scale_ = child("scale", std::make_shared<dtk::ChannelScale>(
                                        network_->latent_shape(), context.dataset(), config.measure,
                                        [network = network_](const Tensor& x) { return network->encode(x); }));
    }
    dtk::Space space() const override { return {network_->latent_shape()}; }
    dtk::Latents encode(const Tensor& x) const override {
        const auto latents = network_->encode(x);
        return scale_ ? scale_->scaled(latents) : latents;
    }
    Tensor decode(const Tensor& z) const override {
        const auto latents = scale_ ? scale_->unscaled(z) : z;
        return network_->decode(latents.to(at::kFloat)).to(z.scalar_type());
    }

 private:
    std::shared_ptr<dtk::Autoencoder> network_;
    std::shared_ptr<dtk::ChannelScale> scale_;
};
}  // namespace

DTK_PLUGIN(Codec, autoencoder, Autoencoder, "latents of an autoencoder that an earlier stage trained")
