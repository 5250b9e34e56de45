#pragma once
// The U-Net that several models are forms of: residual blocks with the time and the class, attention at some sizes and
// always in the middle, every output of the way down concatenated on the way up, the last layer zero at the start.
// Which blocks those are, and what they are told, its fields say.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/flow_map.hpp>
#include <dtk/image_blocks.hpp>
#include <dtk/learned_variance.hpp>
#include <dtk/model.hpp>
#include <dtk/noise_input.hpp>

namespace dtk {

/// What a U-Net is made of. A model shows those of the fields that are its own.
struct DTK_API UNetConfig {
    std::int64_t channels = 32, blocks = 2, heads = 1, groups = 8;
    std::vector<std::int64_t> multipliers{1, 2, 2}, attention{};
    double dropout = 0;
    std::string prediction = "eps", variance = "fixed", noise_label = "time";
    bool conditional = false, self_condition = false, end_time = false;
    std::int64_t head_width = 0;   ///< numbers of a head, in place of how many heads there are
    bool scale_shift = false;      ///< blocks are scaled and shifted by the embedding, not added to
    bool residual_resize = false;  ///< residual blocks change the size, not convolutions
    bool transformer = false;      ///< transformers in place of attention, which read a text where there is one

    /// Sizes of the network: channels, multipliers, blocks, attention.
    void size_fields(Fields& f);
    /// One of these: how attention is shared out.
    void heads_field(Fields& f);
    void head_width_field(Fields& f);
    /// Groups, dropout, and what it answers and is told.
    void other_fields(Fields& f);
};

class DTK_API UNet : public Model, public ToldEnd {
 public:
    /// Errors: Error where the fields do not fit one another or the images.
    UNet(const UNetConfig& config, const BuildContext& context);
    PredictionType predicts() const override { return predicts_; }
    bool self_conditions() const override { return c.self_condition; }
    bool knows_null_condition() const override { return label_ && label_->knows_null(); }
    ConditionSpace reads() const override;
    bool recomputes() const override { return true; }
    bool knows_end() const override { return c.end_time; }
    Prediction forward(const Tensor& x, const Time& t, const Condition& condition) override;

 private:
    /// Attention of the pixels, or a transformer in its place.
    struct Mixing {
        std::shared_ptr<PixelAttention> pixels = {};
        std::shared_ptr<SpatialTransformer> transformer = {};
        Tensor operator()(const Tensor& x, const BlockInput& told) const;
    };
    /// A residual block with or without attention, or a convolution that changes the size.
    struct Part {
        std::shared_ptr<ResidualBlock> residual = {};
        Mixing mixing = {};
        std::shared_ptr<Conv2d> resize = {};
        bool doubles = false;  ///< of the way up: it takes nothing that was kept
        Tensor operator()(const Tensor& x, const BlockInput& told) const { return mixing((*residual)(x, told), told); }
    };
    using Sizes = std::vector<std::pair<std::int64_t, std::int64_t>>;

    std::shared_ptr<ResidualBlock> residual(const Random& init, const std::string& name, std::int64_t in,
                                            std::int64_t out, ResidualBlock::Size size = ResidualBlock::Size::same);
    Mixing mixing(const Random& init, const std::string& name, std::int64_t channels);
    Part block(const Random& init, const std::string& name, std::int64_t in, std::int64_t out,
               std::pair<std::int64_t, std::int64_t> size);
    Part halving(const Random& init, const std::string& name, std::int64_t width);
    Part doubling(const Random& init, const std::string& name, std::int64_t width);
    Tensor embed(const Tensor& x, const Time& t, const Condition& condition) const;
    Tensor last(const Tensor& h, const BlockInput& told) const;
    Sizes level_sizes(const std::vector<std::int64_t>& shape) const;
    void check_fields(const Sizes& sizes, std::int64_t classes) const;

    UNetConfig c;
    PredictionType predicts_;
    LearnedVariance variance_;
    std::int64_t embedding_, token_width_;
    std::shared_ptr<NoiseInput> noise_;
    std::shared_ptr<Linear> time1_, time2_, end_, vector_;
    std::shared_ptr<Embedding> label_;
    std::shared_ptr<Conv2d> in_, out_;
    std::vector<Part> down_, up_;
    std::shared_ptr<ResidualBlock> middle1_, middle2_;
    Mixing middle_;
    std::shared_ptr<GroupNorm> norm_;
};

}  // namespace dtk
