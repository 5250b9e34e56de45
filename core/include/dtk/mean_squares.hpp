#pragma once
#include <dtk/tensor.hpp>

namespace dtk {

/// ‖error‖²/d of every row: [B, ...] → [B], as error.square().flatten(1).mean(1) in one operation.
DTK_API Tensor mean_squares(const Tensor& error);

}  // namespace dtk
