#pragma once
// Blocks of networks of images that several models are made of: residual blocks, self-attention of pixels, transformers
// that let pixels attend to a text. The last layer of each begins at zero, so that it begins as what is passed by it.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dtk/layers.hpp>
#include <dtk/recompute.hpp>
#include <dtk/transformer.hpp>

namespace dtk {

/// What every block is told beside the image.
struct BlockInput {
    Tensor embedding = {};           ///< [B, E], SiLU of the embedding of time and class; undefined: there is none
    Tensor tokens = {};              ///< [B, L, C] vectors of a text; undefined: there is none
    Tensor token_mask = {};          ///< [B, L] of 0 and 1: which there are; undefined: all
    const Random* random = nullptr;  ///< for dropout
    bool recompute = false;          ///< inner values are computed again for the gradient
};

/// work(inputs, told), inner values kept for the gradient or computed again. inputs: as dtk::recomputed wants them.
template <class Work>
Tensor worked(const Module& part, std::vector<Tensor> inputs, const BlockInput& told, const Work& work) {
    if (!told.recompute) return work(inputs, told);
    const bool embedded = told.embedding.defined(), reads = told.tokens.defined();
    if (embedded) inputs.push_back(told.embedding);
    if (reads) inputs.push_back(told.tokens);
    return recomputed(
        [work, own = told, embedded, reads,
         random = told.random ? std::optional(*told.random) : std::nullopt](std::vector<Tensor> all) {
            auto again = own;
            for (auto* last : {reads ? &again.tokens : nullptr, embedded ? &again.embedding : nullptr}) {
                if (!last) continue;
                *last = all.back();
                all.pop_back();
            }
            again.random = random ? &*random : nullptr;
            return work(all, again);
        },
        std::move(inputs), part.parameters());
}

/// GroupNorm, SiLU, convolution, twice, and what comes in passed by: [B, in, H, W] → [B, out, H, W], or half or twice
/// that size. The embedding is added in between (Ho et al. 2020), or scales and shifts the second GroupNorm's output
/// (Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 3.1).
class DTK_API ResidualBlock : public Module {
 public:
    enum class Size { same, half, twice };
    struct Shape {
        std::int64_t in, out, embedding = 0;  ///< 0: there is no embedding
        std::int64_t groups = 8;
        double dropout = 0;
        bool scale_shift = false;
        Size size = Size::same;
    };
    /// site: a name that no other block of the network has
    ResidualBlock(const Random& init, const std::string& site, const Shape& shape);
    Tensor operator()(const Tensor& x, const BlockInput& told) const;
    /// Of the block on the way up, x and what was kept on the way down, [B, in, H, W] together.
    Tensor operator()(const Tensor& x, const Tensor& kept, const BlockInput& told) const;

 private:
    /// x twice: as it is passed by, and as it goes in.
    Tensor work(const Tensor& past, const Tensor& x, const BlockInput& told) const;
    Tensor resized(const Tensor& x) const;

    bool scale_shift_;
    Size size_;
    std::shared_ptr<Dropout> dropout_;
    std::shared_ptr<GroupNorm> norm1_;
    std::shared_ptr<Conv2d> conv1_;
    std::shared_ptr<Linear> time_;
    std::shared_ptr<GroupNorm> norm2_;
    std::shared_ptr<Conv2d> conv2_, skip_;
};

/// Every pixel attends to every other: [B, C, H, W] → [B, C, H, W]
class DTK_API PixelAttention : public Module {
 public:
    PixelAttention(const Random& init, std::int64_t channels, std::int64_t groups, std::int64_t heads);
    Tensor operator()(const Tensor& x, const BlockInput& told) const;

 private:
    Tensor work(const Tensor& past, const Tensor& x) const;

    std::int64_t heads_;
    std::shared_ptr<GroupNorm> norm_;
    std::shared_ptr<Linear> qkv_, out_;
};

/// GroupNorm and a linear map, then pixels attend to one another, to the tokens of a text where there is one, and go
/// through a gated layer, each after a LayerNorm and passed by; a last linear map begins at zero. Rombach et al.,
/// "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, appendix E.2.1.
class DTK_API SpatialTransformer : public Module {
 public:
    /// token_width: numbers of a token; 0: there is no text
    SpatialTransformer(const Random& init, std::int64_t channels, std::int64_t groups, std::int64_t heads,
                       std::int64_t token_width);
    Tensor operator()(const Tensor& x, const BlockInput& told) const;

 private:
    Tensor work(const Tensor& past, const Tensor& x, const BlockInput& told) const;

    std::shared_ptr<GroupNorm> norm_;
    std::shared_ptr<Linear> in_, out_;
    std::shared_ptr<LayerNorm> norm_self_, norm_text_, norm_last_;
    std::shared_ptr<MultiHeadAttention> self_, text_;
    std::shared_ptr<GatedFeedForward> last_;
};

}  // namespace dtk
