#pragma once
// Layers of networks over the residues of a chain: what each residue knows, s [B, L, C], what each pair of them knows,
// z [B, L, L, D], and a frame for each. Jumper et al., "Highly accurate protein
// structure prediction with AlphaFold", 2021, supplementary algorithms 11, 12, 15, 22 and 23. Everything is computed in
// the dtype of the parameters; residues that a mask leaves out change nothing in the others.
#include <cstdint>
#include <memory>
#include <string>

#include <dtk/geometry.hpp>
#include <dtk/transformer.hpp>

namespace dtk {

/// Which residues of x, [B, L, ...], exist: the mask of the condition, [B, L] or as x, → [B, L] of 0 and 1 in the dtype
/// of `like`; ones where nothing is said.
DTK_API Tensor residue_mask(const Condition& condition, const Tensor& x, const Tensor& like);
/// Σ over the residues that exist / their number. x: [B, L, C], mask: [B, L] → [B, 1, C]
DTK_API Tensor masked_mean(const Tensor& x, const Tensor& mask);

/// Points of each residue's own frame, p: [B, L, n, 3], where they are, and back.
inline Tensor to_global(const Frames& frames, const Tensor& p) {
    return p.matmul(frames.rotation.transpose(-1, -2)) + frames.translation.unsqueeze(-2);
}
inline Tensor to_local(const Frames& frames, const Tensor& p) {
    return (p - frames.translation.unsqueeze(-2)).matmul(frames.rotation);
}

/// A vector for each difference j − i of places, those beyond ±reach as that: → [L, L, out]
class DTK_API RelativePositions : public Module {
 public:
    RelativePositions(const Random& random, std::int64_t reach, std::int64_t out);
    Tensor operator()(std::int64_t L) const;

 private:
    Tensor* table_;
    std::int64_t reach_;
};

/// Attention of residues to each other by what they know, by what their pair knows, and by how near points are to each
/// other that each places in its own frame. It sees nothing that turns or moves with all frames alike. Its answer is 0
/// at the start.
///   a_ij ∝ exp(√(1/3c) q_i·k_j + √(1/3) b(z_ij) − ½ γ √(2/27P) Σ_p |T_i q_ip − T_j k_jp|²),  γ = log(1 + e^w) of each
///   head o_i = W [Σ_j a_ij v_j, T_i⁻¹ Σ_j a_ij T_j v_jp, |T_i⁻¹ Σ_j a_ij T_j v_jp|, Σ_j a_ij z_ij]
class DTK_API InvariantPointAttention : public Module {
 public:
    struct Sizes {
        std::int64_t single = 64, pair = 32, heads = 4, scalars = 16, query_points = 4, value_points = 8;
    };
    InvariantPointAttention(const Random& random, const Sizes& sizes);
    /// mask: [B, L] → as s
    Tensor operator()(const Tensor& s, const Tensor& z, const Frames& frames, const Tensor& mask) const;

 private:
    Tensor points(const Tensor& of, std::int64_t n, const Frames& frames) const;

    Sizes c_;
    std::shared_ptr<Linear> query_, key_, value_, query_points_, key_points_, value_points_, bias_, out_;
    Tensor* weight_;
};

/// What a pair learns from the other two sides of all triangles that it is a side of: outgoing Σ_k a_ik b_jk, incoming
/// Σ_k a_ki b_kj. Its answer is 0 at the start.
class DTK_API TriangleMultiplication : public Module {
 public:
    enum class Edges { outgoing, incoming };
    TriangleMultiplication(const Random& random, std::int64_t pair, std::int64_t hidden, Edges edges);
    /// mask: [B, L, L] → as z
    Tensor operator()(const Tensor& z, const Tensor& mask) const;

 private:
    bool outgoing_;
    std::shared_ptr<LayerNorm> in_, summed_;
    std::shared_ptr<Linear> sides_, gates_, gate_, out_;
};

/// W_2 relu(W_1 LN(x)) with `times` as many units inside, 0 at the start: [..., n]
class DTK_API Transition : public Module {
 public:
    Transition(const Random& random, std::int64_t n, std::int64_t times);
    Tensor operator()(const Tensor& x) const { return (*out_)(at::relu((*in_)((*norm_)(x)))); }

 private:
    std::shared_ptr<LayerNorm> norm_;
    std::shared_ptr<Linear> in_, out_;
};

/// The frames turned and moved within themselves as s says: R ← R R_v of the quaternion (1, v), x ← x + R d·unit. As
/// they were at the start.
class DTK_API BackboneUpdate : public Module {
 public:
    BackboneUpdate(const Random& random, std::int64_t single, double unit);
    Frames operator()(const Tensor& s, const Frames& frames, const Tensor& mask) const;

 private:
    std::shared_ptr<Linear> out_;
    double unit_;
};

}  // namespace dtk
