// The first stage of Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, appendix
// E.1:
//   z ~ N(μ, ς²),   [μ, log ς²] = E(x),   x̂ = D(z),   log ς² kept in −30 … 20
// E halves the image once between two levels and D doubles it, by convolutions; both have residual blocks at each level
// and, in the middle, self-attention. Loss `autoencoder_kl` trains it, and codec `autoencoder` makes latents with it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/codec.hpp>
#include <dtk/image_blocks.hpp>

namespace {

using at::Tensor;
using dtk::Conv2d;
using dtk::GroupNorm;
using dtk::Random;
using dtk::ResidualBlock;

struct Config {
    std::int64_t channels = 32, latent = 4, blocks = 1, groups = 8;
    std::vector<std::int64_t> multipliers{1, 2, 2};
    bool attention = true;
    void fields(dtk::Fields& f) {
        f("channels", channels, dtk::at_least(1), "channels at full size");
        f("multipliers", multipliers, dtk::at_least(1),
          "channels of each level as multiples; between two levels the size halves");
        f("latent", latent, dtk::at_least(1), "channels of z");
        f("blocks", blocks, dtk::at_least(1), "residual blocks of a level; the decoder has one more");
        f("attention", attention, "do the pixels in the middle attend to one another?");
        f("groups", groups, dtk::at_least(1), "groups of channels that are normalised together");
        f.require(!multipliers.empty(), "multipliers", "is empty", "give one number per level, as in [1, 2, 2]");
        for (const auto multiplier : multipliers)
            f.require(channels * multiplier % groups == 0, "groups",
                      fmt::format("= {} does not divide {} channels", groups, channels * multiplier),
                      "let `groups` divide `channels`");
    }
};

struct Middle final : dtk::Module {
    Middle(const Random& init, const Config& c, std::int64_t width)
        : block1_(child<ResidualBlock>("block1", init, "middle1", ResidualBlock::Shape{width, width, 0, c.groups})),
          block2_(child<ResidualBlock>("block2", init, "middle2", ResidualBlock::Shape{width, width, 0, c.groups})) {
        if (c.attention) attention_ = child<dtk::PixelAttention>("attention", init, width, c.groups, 1);
    }
    Tensor operator()(const Tensor& x, const dtk::BlockInput& told) const {
        const auto h = (*block1_)(x, told);
        return (*block2_)(attention_ ? (*attention_)(h, told) : h, told);
    }
    std::shared_ptr<ResidualBlock> block1_, block2_;
    std::shared_ptr<dtk::PixelAttention> attention_;
};

/// Residual blocks, and convolutions that change the size.
struct Levels final : dtk::Module {
    struct Part {
        std::shared_ptr<ResidualBlock> residual = {};
        std::shared_ptr<Conv2d> resize = {};
    };
    /// Down from `width`, or up.
    Levels(const Random& init, const Config& c, bool up) : up_(up) {
        const auto n = c.multipliers.size();
        auto width = c.channels * (up ? c.multipliers.back() : 1);
        for (std::size_t i = 0; i < n; ++i) {
            const auto out = c.channels * c.multipliers[up ? n - 1 - i : i];
            for (std::int64_t k = 0; k < c.blocks + up; ++k) {
                const auto name = fmt::format("level{}.{}", i, k);
                parts_.push_back(
                    {child<ResidualBlock>(name, init, name, ResidualBlock::Shape{width, out, 0, c.groups})});
                width = out;
            }
            if (i + 1 < n)
                parts_.push_back(
                    {.resize = child<Conv2d>(fmt::format("level{}.resize", i), init, width, width, 3, up ? 1 : 2)});
        }
    }
    Tensor operator()(Tensor h, const dtk::BlockInput& told) const {
        for (const auto& part : parts_) {
            if (part.residual)
                h = (*part.residual)(h, told);
            else
                h = (*part.resize)(up_ ? at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)}) : h);
        }
        return h;
    }
    bool up_;
    std::vector<Part> parts_;
};

struct AutoencoderKl final : dtk::Autoencoder {
    using Config = ::Config;
    AutoencoderKl(const Config& config, const dtk::BuildContext& context) : c(config), shape_(context.space().shape) {
        if (shape_.size() != 3)
            throw dtk::Error("autoencoder_kl needs images, of shape [channels, height, width]",
                             "use model `linear_autoencoder` for other data");
        const auto factor = std::int64_t{1} << (c.multipliers.size() - 1);
        if (shape_[1] % factor != 0 || shape_[2] % factor != 0)
            throw dtk::Error(fmt::format("images of {}×{} pixels cannot be halved {} times", shape_[1], shape_[2],
                                         c.multipliers.size() - 1),
                             "give fewer `multipliers`");
        latent_shape_ = {c.latent, shape_[1] / factor, shape_[2] / factor};
        const auto init = context.random("init");
        const auto deep = c.channels * c.multipliers.back();
        in_ = child<Conv2d>("encoder.in", init, shape_[0], c.channels, 3);
        down_ = child<Levels>("encoder", init, c, false);
        middle_down_ = child<Middle>("encoder.middle", init, c, deep);
        norm_down_ = child<GroupNorm>("encoder.norm", init, deep, c.groups, GroupNorm::Then::silu);
        moments_ = child<Conv2d>("encoder.out", init, deep, 2 * c.latent, 3);
        mixed_ = child<Conv2d>("moments", init, 2 * c.latent, 2 * c.latent, 1);
        back_ = child<Conv2d>("back", init, c.latent, c.latent, 1);
        from_ = child<Conv2d>("decoder.in", init, c.latent, deep, 3);
        middle_up_ = child<Middle>("decoder.middle", init, c, deep);
        up_ = child<Levels>("decoder", init, c, true);
        norm_up_ =
            child<GroupNorm>("decoder.norm", init, c.channels * c.multipliers.front(), c.groups, GroupNorm::Then::silu);
        out_ = child<Conv2d>("decoder.out", init, c.channels * c.multipliers.front(), shape_[0], 3);
    }
    std::vector<std::int64_t> shape() const override { return shape_; }
    std::vector<std::int64_t> latent_shape() const override { return latent_shape_; }

    dtk::Latents encode(const Tensor& x) const override {
        auto h = (*down_)(dtk::to_image_layout((*in_)(x.to(at::kFloat))), {});
        h = (*moments_)((*norm_down_)((*middle_down_)(h, {})));
        const auto moments = (*mixed_)(h).contiguous().chunk(2, 1);
        return {moments[0], moments[1].clamp(-30, 20).exp()};
    }
    Tensor decode(const Tensor& z) const override {
        const auto h = (*middle_up_)(dtk::to_image_layout((*from_)((*back_)(z))), {});
        return (*out_)((*norm_up_)((*up_)(h, {}))).contiguous();
    }

 private:
    Config c;
    std::vector<std::int64_t> shape_, latent_shape_;
    std::shared_ptr<Conv2d> in_, moments_, mixed_, back_, from_, out_;
    std::shared_ptr<Levels> down_, up_;
    std::shared_ptr<Middle> middle_down_, middle_up_;
    std::shared_ptr<GroupNorm> norm_down_, norm_up_;
};
}  // namespace

DTK_PLUGIN(Model, autoencoder_kl, AutoencoderKl,
           "convolutions to latents with a variance and back (Rombach et al. 2022)")
