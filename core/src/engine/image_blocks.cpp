#include <dtk/image_blocks.hpp>

#include <dtk/error.hpp>

namespace dtk {

using Then = GroupNorm::Then;

ResidualBlock::ResidualBlock(const Random& init, const std::string& site, const Shape& s)
    : scale_shift_(s.scale_shift),
      size_(s.size),
      dropout_(child("dropout", std::make_shared<Dropout>(s.dropout, site))),
      norm1_(child<GroupNorm>("norm1", init, s.in, s.groups, Then::silu)),
      conv1_(child<Conv2d>("conv1", init, s.in, s.out, 3)) {
    if (s.embedding > 0) time_ = child<Linear>("time", init, s.embedding, s.scale_shift ? 2 * s.out : s.out);
    norm2_ = child<GroupNorm>("norm2", init, s.out, s.groups, s.scale_shift ? Then::nothing : Then::silu);
    conv2_ = child<Conv2d>("conv2", init, s.out, s.out, 3, 1, Start::zeros);
    if (s.in != s.out) skip_ = child<Conv2d>("skip", init, s.in, s.out, 1);
}

Tensor ResidualBlock::operator()(const Tensor& x, const BlockInput& told) const {
    return worked(*this, {x, x}, told, [this](const auto& in, const BlockInput& told) {
        return skip_ ? work(in[1], in[0], told) : work(in[0], in[1], told);
    });
}

Tensor ResidualBlock::operator()(const Tensor& x, const Tensor& kept, const BlockInput& told) const {
    return worked(*this, {x, kept}, told, [this](const auto& in, const BlockInput& told) {
        const auto both = at::cat({in[0], in[1]}, 1);
        return work(both, both, told);
    });
}

Tensor ResidualBlock::resized(const Tensor& x) const {
    if (size_ == Size::half) return at::avg_pool2d(x, {2, 2});
    return size_ == Size::twice ? at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}) : x;
}

Tensor ResidualBlock::work(const Tensor& past, const Tensor& x, const BlockInput& told) const {
    // What is passed by comes first, so that its gradient comes last, when the others take no memory any more.
    const auto same_size = resized(past);
    const auto by = skip_ ? (*skip_)(same_size) : same_size;
    auto h = (*conv1_)(resized((*norm1_)(x)));
    if (!time_) return by + (*conv2_)((*dropout_)((*norm2_)(h), told.random));
    const auto shown = (*time_)(told.embedding).unsqueeze(2).unsqueeze(3);
    if (scale_shift_) {
        const auto scale_and_shift = shown.chunk(2, 1);
        h = at::silu((*norm2_)(h) * (1 + scale_and_shift[0]) + scale_and_shift[1]);
    } else {
        h = (*norm2_)(h + shown);
    }
    return by + (*conv2_)((*dropout_)(h, told.random));
}

PixelAttention::PixelAttention(const Random& init, std::int64_t channels, std::int64_t groups, std::int64_t heads)
    : heads_(heads),
      norm_(child<GroupNorm>("norm", init, channels, groups)),
      qkv_(child<Linear>("qkv", init, channels, 3 * channels)),
      out_(child<Linear>("out", init, channels, channels, Start::zeros)) {}

Tensor PixelAttention::operator()(const Tensor& x, const BlockInput& told) const {
    return worked(*this, {x, x}, told, [this](const auto& in, const BlockInput&) { return work(in[0], in[1]); });
}

Tensor PixelAttention::work(const Tensor& past, const Tensor& x) const {
    const auto B = x.size(0), C = x.size(1), H = x.size(2), W = x.size(3);
    const auto pixels = (*norm_)(x).permute({0, 2, 3, 1}).reshape({B, H * W, C});
    const auto qkv = (*qkv_)(pixels).view({B, H * W, 3, heads_, C / heads_}).permute({2, 0, 3, 1, 4}).unbind();
    const auto mixed = attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape({B, H * W, C});
    return past + (*out_)(mixed).view({B, H, W, C}).permute({0, 3, 1, 2});
}

SpatialTransformer::SpatialTransformer(const Random& init, std::int64_t channels, std::int64_t groups,
                                       std::int64_t heads, std::int64_t token_width)
    : norm_(child<GroupNorm>("norm", init, channels, groups)),
      in_(child<Linear>("in", init, channels, channels)),
      out_(child<Linear>("out", init, channels, channels, Start::zeros)),
      norm_self_(child<LayerNorm>("norm_self", init, channels)),
      norm_last_(child<LayerNorm>("norm_last", init, channels)),
      self_(child<MultiHeadAttention>("self", init, channels, heads, channels)),
      last_(child<GatedFeedForward>("last", init, channels)) {
    if (token_width == 0) return;
    norm_text_ = child<LayerNorm>("norm_text", init, channels);
    text_ = child<MultiHeadAttention>("text", init, channels, heads, token_width);
}

Tensor SpatialTransformer::operator()(const Tensor& x, const BlockInput& told) const {
    return worked(*this, {x, x}, told,
                  [this](const auto& in, const BlockInput& told) { return work(in[0], in[1], told); });
}

Tensor SpatialTransformer::work(const Tensor& past, const Tensor& x, const BlockInput& told) const {
    const auto B = x.size(0), C = x.size(1), H = x.size(2), W = x.size(3);
    auto h = (*in_)((*norm_)(x).permute({0, 2, 3, 1}).reshape({B, H * W, C}));
    const auto alone = (*norm_self_)(h);
    h = h + (*self_)(alone, alone);
    if (text_) {
        if (!told.tokens.defined())
            throw Error("a network that reads texts was given none", "say what it is to draw: --prompt \"…\"");
        h = h + (*text_)((*norm_text_)(h), told.tokens, told.token_mask);
    }
    h = h + (*last_)((*norm_last_)(h));
    return past + (*out_)(h).view({B, H, W, C}).permute({0, 3, 1, 2});
}

}  // namespace dtk
