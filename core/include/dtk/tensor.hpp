#pragma once
// Tensors, for the interfaces that speak of them. Costly to read: every target that includes it does so from one
// precompiled header, so include it and no other header of LibTorch unless you must.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace dtk {
using at::Tensor;
}
