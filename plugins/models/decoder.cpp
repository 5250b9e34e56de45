// x̂_0 = G(z), z the first `latent` numbers of x_T/√Var: what a GAN generates with and a VAE decodes with. It is asked
// once, at the noisy end, by sampler `decode`.
// Images: a linear map to channels·2^levels channels at 1/2^levels of the size, then at each level twice the size and a
// convolution to half the channels, each with SiLU. Other data: `levels` layers of `channels` units with SiLU.
#include <fmt/format.h>

#include <dtk/dataset.hpp>
#include <dtk/layers.hpp>
#include <dtk/learned_variance.hpp>
#include <dtk/model.hpp>
#include <dtk/process.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

struct Decoder final : dtk::Model {
    struct Config {
        std::int64_t latent = 0, channels = 128, levels = 3;
        std::string variance = "fixed";
        void fields(dtk::Fields& f) {
            f("latent", latent, dtk::at_least(0), "numbers of x_T that it reads; 0: all");
            f("channels", channels, dtk::at_least(1), "units of a layer; of images, channels at full size");
            f("levels", levels, dtk::in(0, 16), "layers; of images, how often the size is doubled");
            f("variance", variance, {"fixed", "direct"}, "of x given z: none, or learned as log Σ of every element");
        }
    } c;
    Decoder(const Config& config, const dtk::BuildContext& context)
        : c(config),
          shape_(context.space().shape),
          sd_(context.process().levels().prior_sd(context.process().levels().last())),
          variance_(config.variance, context.process()) {
        const auto d = context.space().elements();
        if (c.latent > d)
            throw dtk::Error(fmt::format("`latent` = {} is more than the {} numbers of x_T", c.latent, d), "lower it");
        if (c.latent == 0) c.latent = d;
        const auto init = context.random("init");
        const auto outputs = variance_.outputs();
        if (!image()) {
            auto in = c.latent;
            for (std::int64_t i = 0; i < c.levels; ++i, in = c.channels)
                layers_.push_back(child<dtk::Linear>(fmt::format("layer{}", i), init, in, c.channels));
            linear_ = child<dtk::Linear>("out", init, in, outputs * d);
            return;
        }
        const auto factor = std::int64_t{1} << c.levels;
        if (shape_[1] % factor != 0 || shape_[2] % factor != 0)
            throw dtk::Error(
                fmt::format("images of {}×{} pixels do not come of {} doublings", shape_[1], shape_[2], c.levels),
                "ask for fewer `levels`");
        height_ = shape_[1] / factor;
        width_ = shape_[2] / factor;
        auto channels = c.channels * factor;
        linear_ = child<dtk::Linear>("in", init, c.latent, channels * height_ * width_);
        for (std::int64_t i = 0; i < c.levels; ++i, channels /= 2)
            convolutions_.push_back(child<dtk::Conv2d>(fmt::format("conv{}", i), init, channels, channels / 2, 3));
        out_ = child<dtk::Conv2d>("out", init, channels, outputs * shape_[0], 3);
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::x0; }

    dtk::Prediction forward(const Tensor& xT, const dtk::Time& t, const dtk::Condition&) override {
        auto h = xT.flatten(1).slice(1, 0, c.latent).to(at::kFloat) / sd_;
        if (!image()) {
            for (const auto& layer : layers_) h = at::silu((*layer)(h));
            return variance_(predicts(), (*linear_)(h), xT, t);
        }
        h = dtk::to_image_layout(at::silu((*linear_)(h)).view({xT.size(0), -1, height_, width_}));
        for (const auto& convolution : convolutions_)
            h = at::silu((*convolution)(at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)})));
        return variance_(predicts(), (*out_)(h), xT, t);
    }

 private:
    bool image() const { return shape_.size() == 3; }

    std::vector<std::int64_t> shape_;
    double sd_;
    dtk::LearnedVariance variance_;
    std::int64_t height_ = 1, width_ = 1;
    std::shared_ptr<dtk::Linear> linear_;
    std::vector<std::shared_ptr<dtk::Linear>> layers_;
    std::vector<std::shared_ptr<dtk::Conv2d>> convolutions_;
    std::shared_ptr<dtk::Conv2d> out_;
};
}  // namespace

DTK_PLUGIN(Model, decoder, Decoder,
           "from noise to data in one evaluation: the generator of a GAN, the decoder of a VAE")
