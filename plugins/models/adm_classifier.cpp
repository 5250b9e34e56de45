// log p(c | x_t, t) up to a constant, for images with classes: the way down of model `adm_unet`, scaled and shifted by
// the time alone, and in place of the way up a pooling by attention: a vector that begins as the mean of all pixels
// attends to each of them and to itself, with a learned vector added for every place. Dhariwal & Nichol, "Diffusion
// Models Beat GANs on Image Synthesis", 2021, section 4 and appendix I; the pooling is that of Radford et al.,
// "Learning Transferable Visual Models From Natural Language Supervision", 2021, section 2.4. Loss `cross_entropy` with
// `noised` trains it, and guidance `classifier` asks it.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/classifier.hpp>
#include <dtk/dataset.hpp>
#include <dtk/image_blocks.hpp>
#include <dtk/process.hpp>

namespace {

using at::Tensor;
using dtk::GroupNorm;
using dtk::Linear;
using dtk::Random;
using dtk::ResidualBlock;

/// What the mean of the pixels finds when it attends to them: [B, C, H, W] → [B, C]
struct AttentionPool final : dtk::Module {
    AttentionPool(const Random& init, std::int64_t channels, std::int64_t pixels, std::int64_t heads)
        : attention_(child<dtk::MultiHeadAttention>("attention", init, channels, heads, channels)) {
        const double sd = 1 / std::sqrt(static_cast<double>(channels));
        place_ = &parameter("place", init.stream("place").normal({pixels + 1, channels}, at::kFloat).mul_(sd));
    }
    Tensor operator()(const Tensor& x) const {
        const auto pixels = x.flatten(2).transpose(1, 2);
        const auto all = at::cat({pixels.mean(1, true), pixels}, 1) + *place_;
        return (*attention_)(all.slice(1, 0, 1), all).squeeze(1);
    }
    std::shared_ptr<dtk::MultiHeadAttention> attention_;
    Tensor* place_;
};

struct AdmClassifier final : dtk::Classifier {
    struct Config {
        std::int64_t channels = 32, blocks = 1, groups = 8, head_width = 32;
        std::vector<std::int64_t> multipliers{1, 2, 2}, attention{};
        double dropout = 0;
        void fields(dtk::Fields& f) {
            f("channels", channels, dtk::at_least(1), "channels at full size");
            f("multipliers", multipliers, dtk::at_least(1),
              "channels of each level as multiples; each level halves the size");
            f("blocks", blocks, dtk::at_least(1), "residual blocks of a level");
            f("attention", attention, dtk::at_least(1), "sizes (the shorter side, pixels) with self-attention");
            f("head_width", head_width, dtk::at_least(1), "channels of a head of an attention");
            f("groups", groups, dtk::at_least(1), "groups of channels that are normalised together");
            f("dropout", dropout, dtk::up_from(0, 1), "share of zeroed activations in residual blocks");
            f.require(!multipliers.empty(), "multipliers", "is empty", "give one number per level, as in [1, 2, 2]");
            for (const auto multiplier : multipliers) {
                f.require(channels * multiplier % groups == 0, "groups",
                          fmt::format("= {} does not divide {} channels", groups, channels * multiplier),
                          "let `groups` divide `channels`");
                f.require(channels * multiplier % head_width == 0, "head_width",
                          fmt::format("= {} does not divide {} channels", head_width, channels * multiplier),
                          "let `head_width` divide `channels`");
            }
        }
    } c;
    AdmClassifier(const Config& config, const dtk::BuildContext& context) : c(config), shape_(context.space().shape) {
        const auto classes = context.space().classes;
        if (shape_.size() != 3)
            throw dtk::Error("adm_classifier needs images, of shape [channels, height, width]",
                             "use model `classifier` for other data");
        if (classes < 2)
            throw dtk::Error("a classifier needs data with two classes or more",
                             "use other data, or give the data their labels");
        const auto factor = std::int64_t{1} << (c.multipliers.size() - 1);
        if (shape_[1] % factor != 0 || shape_[2] % factor != 0)
            throw dtk::Error(fmt::format("images of {}×{} pixels cannot be halved {} times", shape_[1], shape_[2],
                                         c.multipliers.size() - 1),
                             "give fewer `multipliers`");
        build(context.random("init"), context.process().steps(), classes);
    }

    std::vector<std::int64_t> shape() const override { return shape_; }

    Tensor features(const Tensor& x, const dtk::Time& t) override { return pooled(x, t, nullptr); }

    dtk::Prediction forward(const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) override {
        return {predicts(), (*out_)(pooled(x, t, condition.random)).to(x.scalar_type()), {}};
    }

 private:
    struct Part {
        std::shared_ptr<ResidualBlock> residual;
        std::shared_ptr<dtk::PixelAttention> attention;
    };

    Tensor pooled(const Tensor& x, const dtk::Time& t, const Random* random) const {
        const auto embedded = (*time2_)(at::silu((*time1_)((*time_)(t.on(x)))));
        const dtk::BlockInput told{.embedding = at::silu(embedded), .random = random};
        auto h = dtk::to_image_layout((*in_)(x.to(at::kFloat)));
        for (const auto& part : parts_) {
            h = (*part.residual)(h, told);
            if (part.attention) h = (*part.attention)(h, told);
        }
        return (*pool_)((*norm_)(h));
    }

    void build(const Random& init, std::int64_t steps, std::int64_t classes) {
        const auto embedding = 4 * c.channels;
        time_ = child("time",
                      std::make_shared<dtk::SinusoidalEmbedding>(2 * c.channels, 1000.0 / static_cast<double>(steps)));
        time1_ = child<Linear>("time1", init, 2 * c.channels, embedding);
        time2_ = child<Linear>("time2", init, embedding, embedding);
        in_ = child<dtk::Conv2d>("in", init, shape_[0], c.channels, 3);
        auto width = c.channels, height = shape_[1], across = shape_[2];
        std::vector<std::int64_t> sides;
        const auto block = [&](const std::string& name, std::int64_t out, ResidualBlock::Size size) {
            return child<ResidualBlock>(name, init, name,
                                        ResidualBlock::Shape{width, out, embedding, c.groups, c.dropout, true, size});
        };
        for (std::size_t level = 0; level < c.multipliers.size(); ++level) {
            sides.push_back(std::min(height, across));
            for (std::int64_t k = 0; k < c.blocks; ++k) {
                const auto name = fmt::format("down{}.{}", level, k);
                const auto out = c.channels * c.multipliers[level];
                parts_.push_back({block(name, out, ResidualBlock::Size::same), nullptr});
                width = out;
                if (std::ranges::count(c.attention, sides.back()) > 0)
                    parts_.back().attention =
                        child<dtk::PixelAttention>(name + ".attention", init, width, c.groups, width / c.head_width);
            }
            if (level + 1 == c.multipliers.size()) break;
            parts_.push_back({block(fmt::format("down{}.half", level), width, ResidualBlock::Size::half), nullptr});
            height /= 2;
            across /= 2;
        }
        for (const auto side : c.attention)
            if (std::ranges::count(sides, side) == 0)
                throw dtk::Error(fmt::format("`attention` names the size {}, which never occurs", side),
                                 fmt::format("the sizes are {}", fmt::join(sides, ", ")));
        norm_ = child<GroupNorm>("norm", init, width, c.groups, GroupNorm::Then::silu);
        pool_ = child<AttentionPool>("pool", init, width, height * across, width / c.head_width);
        out_ = child<Linear>("out", init, width, classes);
    }

    std::vector<std::int64_t> shape_;
    std::shared_ptr<dtk::SinusoidalEmbedding> time_;
    std::shared_ptr<Linear> time1_, time2_, out_;
    std::shared_ptr<dtk::Conv2d> in_;
    std::vector<Part> parts_;
    std::shared_ptr<GroupNorm> norm_;
    std::shared_ptr<AttentionPool> pool_;
};
}  // namespace

DTK_PLUGIN(Model, adm_classifier, AdmClassifier, "tells classes of noisy images apart (Dhariwal & Nichol 2021)")
