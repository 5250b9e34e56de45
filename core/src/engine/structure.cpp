#include <dtk/structure.hpp>

#include <cmath>
#include <vector>

#include <dtk/error.hpp>
#include <dtk/rotations.hpp>

namespace dtk {

Tensor residue_mask(const Condition& condition, const Tensor& x, const Tensor& like) {
    if (!condition.mask.defined()) return at::ones({x.size(0), x.size(1)}, like.options());
    auto mask = condition.mask.to(like.options());
    while (mask.dim() > 2) mask = mask.select(-1, 0);
    if (mask.dim() != 2 || mask.size(0) != x.size(0) || mask.size(1) != x.size(1))
        throw Error("the mask of the data is not one number for each residue", "give a mask of [B, L], or none");
    return mask;
}

Tensor masked_mean(const Tensor& x, const Tensor& mask) {
    const auto there = mask.unsqueeze(-1);
    return (x * there).sum(1, true) / there.sum(1, true).clamp_min(1);
}

RelativePositions::RelativePositions(const Random& random, std::int64_t reach, std::int64_t out)
    : table_(&parameter("table", starting_value(Start::uniform, {2 * reach + 1, out}, out, random.stream("table")))),
      reach_(reach) {}

Tensor RelativePositions::operator()(std::int64_t L) const {
    const auto place = at::arange(L, table_->options().dtype(at::kLong).requires_grad(false));
    const auto from = (place.unsqueeze(0) - place.unsqueeze(1)).clamp(-reach_, reach_) + reach_;
    return at::embedding(*table_, from);
}

InvariantPointAttention::InvariantPointAttention(const Random& random, const Sizes& c)
    : c_(c),
      query_(child<Linear>("query", random, c.single, c.heads * c.scalars)),
      key_(child<Linear>("key", random, c.single, c.heads * c.scalars)),
      value_(child<Linear>("value", random, c.single, c.heads * c.scalars)),
      query_points_(child<Linear>("query_points", random, c.single, c.heads * c.query_points * 3)),
      key_points_(child<Linear>("key_points", random, c.single, c.heads * c.query_points * 3)),
      value_points_(child<Linear>("value_points", random, c.single, c.heads * c.value_points * 3)),
      bias_(child<Linear>("bias", random, c.pair, c.heads)),
      out_(child<Linear>("out", random, c.heads * (c.scalars + 4 * c.value_points + c.pair), c.single, Start::zeros)),
      // log(1 + e^w) = 1
      weight_(&parameter("weight", at::full({c.heads}, std::log(std::expm1(1.0)), at::kFloat))) {}

/// [B, heads, L, n·3], in the global frame
Tensor InvariantPointAttention::points(const Tensor& of, std::int64_t n, const Frames& frames) const {
    const auto B = of.size(0), L = of.size(1);
    return to_global(frames, of.view({B, L, c_.heads * n, 3})).view({B, L, c_.heads, n * 3}).transpose(1, 2);
}

Tensor InvariantPointAttention::operator()(const Tensor& s, const Tensor& z, const Frames& given,
                                           const Tensor& mask) const {
    const auto B = s.size(0), L = s.size(1), H = c_.heads;
    const auto P = static_cast<double>(c_.query_points);
    // Near 0, where differences of squares keep their digits.
    const Frames frames{given.rotation, given.translation - masked_mean(given.translation, mask)};
    const auto heads = [&](const Tensor& of) { return of.view({B, L, H, c_.scalars}).transpose(1, 2); };

    // How much residue i looks at j, by each head: [B, H, L, L]
    const auto q = heads((*query_)(s)), k = heads((*key_)(s));
    const auto at_q = points((*query_points_)(s), c_.query_points, frames),
               at_k = points((*key_points_)(s), c_.query_points, frames);
    const auto apart =
        at_q.square().sum(-1, true) + at_k.square().sum(-1).unsqueeze(2) - 2 * at_q.matmul(at_k.transpose(-1, -2));
    const auto nearness = (at::softplus(*weight_) * (0.5 * std::sqrt(2 / (27 * P)))).view({1, H, 1, 1});
    auto logits = std::sqrt(1 / (3.0 * static_cast<double>(c_.scalars))) * q.matmul(k.transpose(-1, -2)) +
                  std::sqrt(1.0 / 3) * (*bias_)(z).permute({0, 3, 1, 2}) - nearness * apart;
    logits = logits.masked_fill(mask.view({B, 1, 1, L}) == 0, -1e9);
    const auto a = logits.softmax(-1);

    const auto back = [&](const Tensor& of) { return of.transpose(1, 2).reshape({B, L, -1}); };
    const auto scalars = back(a.matmul(heads((*value_)(s))));
    const auto seen = a.matmul(points((*value_points_)(s), c_.value_points, frames)).transpose(1, 2);
    const auto local = to_local(frames, seen.reshape({B, L, H * c_.value_points, 3}));
    const auto lengths = (local.square().sum(-1) + 1e-8).sqrt();
    const auto pairs = a.transpose(1, 2).matmul(z).reshape({B, L, -1});
    return (*out_)(at::cat({scalars, local.reshape({B, L, -1}), lengths, pairs}, -1));
}

TriangleMultiplication::TriangleMultiplication(const Random& random, std::int64_t pair, std::int64_t hidden,
                                               Edges edges)
    : outgoing_(edges == Edges::outgoing),
      in_(child<LayerNorm>("in", random, pair)),
      summed_(child<LayerNorm>("summed", random, hidden)),
      sides_(child<Linear>("sides", random, pair, 2 * hidden)),
      gates_(child<Linear>("gates", random, pair, 2 * hidden)),
      gate_(child<Linear>("gate", random, pair, pair)),
      out_(child<Linear>("out", random, hidden, pair, Start::zeros)) {}

// Numbers come before pairs, [B, hidden, L, L], as the sums over corners want them: a map of Wh, not of hW, leaves them
// so, and nothing is copied into another order.
Tensor TriangleMultiplication::operator()(const Tensor& z, const Tensor& mask) const {
    const auto B = z.size(0), L = z.size(1), hidden = out_->weight().size(1);
    const auto h = (*in_)(z), pairs = h.flatten(1, 2).transpose(1, 2), there = mask.unsqueeze(1);
    const auto side = [&](std::int64_t first) {
        const auto both = [&](const Tensor& side, const Tensor& gate) {
            return at::cat({side.narrow(0, first, hidden), gate.narrow(0, first, hidden)});
        };
        const auto weight = both(sides_->weight(), gates_->weight()).expand({B, -1, -1});
        const auto bias = both(sides_->bias(), gates_->bias()).unsqueeze(1);
        return at::glu(at::baddbmm(bias, weight, pairs), 1).view({B, hidden, L, L}) * there;
    };
    const auto a = side(0), b = side(hidden);
    const auto sum = outgoing_ ? a.matmul(b.transpose(-1, -2)) : a.transpose(-1, -2).matmul(b);
    return (*gate_)(h).sigmoid() * (*out_)((*summed_)(sum.permute({0, 2, 3, 1})));
}

Transition::Transition(const Random& random, std::int64_t n, std::int64_t times)
    : norm_(child<LayerNorm>("norm", random, n)),
      in_(child<Linear>("in", random, n, times * n)),
      out_(child<Linear>("out", random, times * n, n, Start::zeros)) {}

BackboneUpdate::BackboneUpdate(const Random& random, std::int64_t single, double unit)
    : out_(child<Linear>("out", random, single, 6, Start::zeros)), unit_(unit) {}

// The rotation of a quaternion (1, v) of any length is I + 2 (V + V²)/(1 + |v|²) with V w = v × w.
Frames BackboneUpdate::operator()(const Tensor& s, const Frames& frames, const Tensor& mask) const {
    const auto all = ((*out_)(s)*mask.unsqueeze(-1)).chunk(2, -1);
    const auto& v = all[0];
    const auto V = hat(v);
    const auto turn = at::eye(3, v.options()) + (2 / (1 + v.square().sum(-1, true))).unsqueeze(-1) * (V + V.matmul(V));
    return {frames.rotation.matmul(turn),
            frames.translation + frames.rotation.matmul((unit_ * all[1]).unsqueeze(-1)).squeeze(-1)};
}

}  // namespace dtk
