#include <dtk/transformer.hpp>

#include <fmt/format.h>

#include <dtk/error.hpp>

namespace dtk {

LayerNorm::LayerNorm(const Random&, std::int64_t width)
    : weight_(&parameter("weight", at::ones({width}))), bias_(&parameter("bias", at::zeros({width}))) {}

Tensor LayerNorm::operator()(const Tensor& x) const { return at::layer_norm(x, {x.size(-1)}, *weight_, *bias_); }

MultiHeadAttention::MultiHeadAttention(const Random& random, std::int64_t width, std::int64_t heads,
                                       std::int64_t from_width, Start out)
    : heads_(heads),
      q_(child<Linear>("q", random, width, width)),
      kv_(child<Linear>("kv", random, from_width, 2 * width)),
      out_(child<Linear>("out", random, width, width, out)) {
    if (heads < 1 || width % heads != 0)
        throw Error(fmt::format("{} heads do not share {} numbers evenly", heads, width),
                    "let the heads divide the width");
}

Tensor MultiHeadAttention::operator()(const Tensor& x, const Tensor& from, const Tensor& mask) const {
    const auto B = x.size(0), N = x.size(1), L = from.size(1), width = x.size(2);
    const auto q = (*q_)(x).view({B, N, heads_, width / heads_}).transpose(1, 2);
    const auto kv = (*kv_)(from).view({B, L, 2, heads_, width / heads_}).permute({2, 0, 3, 1, 4}).unbind();
    const auto mixed = mask.defined() ? at::scaled_dot_product_attention(
                                            q, kv[0], kv[1], mask.to(at::kBool).view({B, 1, 1, L}).expand({B, 1, N, L}))
                                      : attention(q, kv[0], kv[1]);
    return (*out_)(mixed.transpose(1, 2).reshape({B, N, width}));
}

GatedFeedForward::GatedFeedForward(const Random& random, std::int64_t width, std::int64_t expansion)
    : in_(child<Linear>("in", random, width, 2 * expansion * width)),
      out_(child<Linear>("out", random, expansion * width, width)) {}

Tensor GatedFeedForward::operator()(const Tensor& x) const {
    const auto both = (*in_)(x).chunk(2, -1);
    return (*out_)(both[0] * at::gelu(both[1]));
}

}  // namespace dtk
