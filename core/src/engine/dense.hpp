#pragma once
#include <string_view>

#include <dtk/api.hpp>

#include "kernels/dense.hpp"

namespace dtk {

/// The kernels of fully connected layers for "AVX512", "AVX2" or "DEFAULT", as LibTorch calls them; null where there
/// are none.
DTK_API const kernels::Dense* dense_kernels(std::string_view instructions);

}  // namespace dtk
