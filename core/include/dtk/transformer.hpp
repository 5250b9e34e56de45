#pragma once
// Blocks of transformers that networks share: of tokens that may be missing, and that may attend to others.
#include <cstdint>
#include <memory>

#include <dtk/layers.hpp>

namespace dtk {

/// Each vector to mean 0 and variance 1, then a scale and a shift for each number: [..., width]
class DTK_API LayerNorm : public Module {
 public:
    LayerNorm(const Random& random, std::int64_t width);
    Tensor operator()(const Tensor& x) const;

 private:
    Tensor *weight_, *bias_;
};

/// Every vector of x takes from those of `from` what it is nearest to, in `heads` parts: Vaswani et al., "Attention Is
/// All You Need", 2017, section 3.2.
class DTK_API MultiHeadAttention : public Module {
 public:
    /// from_width: of the vectors that are attended to. Errors: Error where `heads` does not divide `width`.
    MultiHeadAttention(const Random& random, std::int64_t width, std::int64_t heads, std::int64_t from_width,
                       Start out = Start::uniform);
    /// x: [B, N, width], from: [B, L, from_width], mask: [B, L] of 0 and 1, which of `from` there are, at least one of
    /// each row; undefined: all of them → [B, N, width]
    Tensor operator()(const Tensor& x, const Tensor& from, const Tensor& mask = {}) const;

 private:
    std::int64_t heads_;
    std::shared_ptr<Linear> q_, kv_, out_;
};

/// W (a · GELU(b)), [a, b] = V x: Shazeer, "GLU Variants Improve Transformer", 2020. [..., width] → [..., width]
class DTK_API GatedFeedForward : public Module {
 public:
    GatedFeedForward(const Random& random, std::int64_t width, std::int64_t expansion = 4);
    Tensor operator()(const Tensor& x) const;

 private:
    std::shared_ptr<Linear> in_, out_;
};

}  // namespace dtk
