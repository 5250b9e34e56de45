#pragma once
#include <dtk/tensor.hpp>

namespace dtk {

/// SiLU(GroupNorm(x)), or GroupNorm(x) alone. x: [B, C, H, W], weight and bias: [C] float32. Twice differentiable.
/// LibTorch's own kernel is 20 times slower in the channels-last layout where a group has few channels, so images in
/// that layout on the CPU, float32 or bfloat16, take one of ours: one pass over memory each way, and the same bits
/// whatever the machine, the number of threads and the batch.
Tensor group_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t groups, bool silu);

}  // namespace dtk
