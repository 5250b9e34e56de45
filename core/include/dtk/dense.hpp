#pragma once
// Fully connected layers one after the other, as one operation.
#include <memory>
#include <vector>

#include <dtk/layers.hpp>

namespace dtk {

enum class Activation { silu, sigmoid };

/// h_0 = x, h_{i+1} = φ(W_i h_i + b_i), the last with φ or without. In float32 on the CPU, layers that are not too wide
/// are computed in one go, for the gradient, too; elsewhere, and where a derivative of a derivative is wanted or one in
/// forward mode, or somebody looks at every operation, by LibTorch's. A row's answer does not depend on the others'.
class DTK_API Dense {
 public:
    enum class Last { linear, activated };
    Dense(std::vector<std::shared_ptr<Linear>> layers, Activation activation, Last last);
    /// [B, in] → [B, out]
    Tensor operator()(const Tensor& x) const;

 private:
    std::vector<std::shared_ptr<Linear>> layers_;
    Activation activation_;
    Last last_;
};

}  // namespace dtk
