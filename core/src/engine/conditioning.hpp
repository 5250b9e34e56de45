#pragma once
// Which rows are told what is known of them in training: drawn here and nowhere else.
#include <dtk/random.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// All but that share of the rows, drawn each by itself. → [rows] bool
Tensor told_rows(const Random& random, double dropped, std::int64_t rows, at::Device device);

}  // namespace dtk
