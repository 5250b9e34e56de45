// A transformer over the tokens of a text, trained with the network that attends to what it makes of them:
//   h_i = E[w_i] + P_i,   h ← h + attention(LN h),   h ← h + W₂ GELU(W₁ LN h)   `depth` times,   c = LN h
// with a learned token before the first, so that there always is one; rows that are told nothing have a learned vector
// in its place and no other. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
// section 4.3.1; the layers as in Vaswani et al. 2017 with the norms first.
#include <fmt/format.h>

#include <dtk/conditioner.hpp>
#include <dtk/transformer.hpp>

namespace {

using at::Tensor;
using dtk::Linear;

struct Block final : dtk::Module {
    Block(const dtk::Random& init, std::int64_t width, std::int64_t heads)
        : norm1_(child<dtk::LayerNorm>("norm1", init, width)),
          attention_(child<dtk::MultiHeadAttention>("attention", init, width, heads, width)),
          norm2_(child<dtk::LayerNorm>("norm2", init, width)),
          in_(child<Linear>("in", init, width, 4 * width)),
          out_(child<Linear>("out", init, 4 * width, width)) {}
    Tensor operator()(const Tensor& x, const Tensor& mask) const {
        const auto alone = (*norm1_)(x);
        const auto h = x + (*attention_)(alone, alone, mask);
        return h + (*out_)(at::gelu((*in_)((*norm2_)(h))));
    }
    std::shared_ptr<dtk::LayerNorm> norm1_;
    std::shared_ptr<dtk::MultiHeadAttention> attention_;
    std::shared_ptr<dtk::LayerNorm> norm2_;
    std::shared_ptr<Linear> in_, out_;
};

struct TextTransformer final : dtk::Conditioner {
    struct Config {
        std::int64_t width = 64, depth = 2, heads = 4;
        double drop = 0;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::at_least(1), "numbers of a token");
            f("depth", depth, dtk::at_least(0), "layers");
            f("heads", heads, dtk::at_least(1), "heads of an attention");
            f("drop", drop, dtk::up_from(0, 1),
              "share of the examples of training whose text it is not told, beside drop_condition of [train]");
            f.require(width % heads == 0, "heads", fmt::format("= {} does not divide `width` = {}", heads, width),
                      "let it");
        }
    } c;
    TextTransformer(const Config& config, const dtk::BuildContext& context)
        : c(config), knows_null_(config.drop > 0 || context.drops_conditions()) {
        const auto told = context.condition_space();
        if (told.vocabulary == 0)
            throw dtk::Error("text_transformer needs data with tokens",
                             "add [tokenizer], such as words, over data with captions");
        const auto init = context.random("init").stream("conditioner");
        const auto drawn = [&](const char* name, std::int64_t rows, double sd) {
            return &parameter(name, init.stream(name).normal({rows, c.width}, at::kFloat).mul_(sd));
        };
        table_ = drawn("table", told.vocabulary, 1);
        position_ = drawn("position", told.tokens + 1, 0.1);
        start_ = drawn("start", 1, 1);
        if (knows_null_) nothing_ = drawn("nothing", 1, 1);
        for (std::int64_t i = 0; i < c.depth; ++i)
            blocks_.push_back(child<Block>(fmt::format("block{}", i), init, c.width, c.heads));
        norm_ = child<dtk::LayerNorm>("norm", init, c.width);
    }
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.tokens += 1;
        told.vocabulary = 0;
        told.token_width = c.width;
        return told;
    }
    dtk::Condition operator()(dtk::Condition condition) const override {
        if (!condition.tokens.defined())
            throw dtk::Error("a network that reads texts was given none", "say what it is to draw: --prompt \"…\"");
        const auto B = condition.tokens.size(0), L = condition.tokens.size(1);
        const auto floats = start_->options();
        const auto given_mask =
            condition.token_mask.defined() ? condition.token_mask.to(floats) : at::ones({B, L}, floats);
        auto mask = at::cat({at::ones({B, 1}, floats), given_mask}, 1);
        auto h = at::cat({start_->expand({B, 1, c.width}), at::embedding(*table_, condition.tokens)}, 1) +
                 position_->slice(0, 0, L + 1);
        for (const auto& block : blocks_) h = (*block)(h, mask);
        h = (*norm_)(h);
        if (condition.given.defined()) {
            if (!knows_null_)
                throw dtk::Error("a network is asked without its text, and was never trained so",
                                 "set drop_condition in [train]");
            const auto told = condition.given.unsqueeze(1);
            h = at::where(told.unsqueeze(2), h, *nothing_);
            mask = at::where(told, mask, at::arange(L + 1, floats) == 0);
        }
        condition.tokens = h;
        condition.token_mask = mask;
        return condition;
    }
    bool knows_null_condition() const override { return knows_null_; }
    double drops() const override { return c.drop; }

 private:
    bool knows_null_;
    Tensor *table_, *position_, *start_, *nothing_ = nullptr;
    std::vector<std::shared_ptr<Block>> blocks_;
    std::shared_ptr<dtk::LayerNorm> norm_;
};
}  // namespace

DTK_PLUGIN(Conditioner, text_transformer, TextTransformer, "a transformer over the tokens of a text")
