// Loops on LibTorch's threads.
#include "engine/parallel.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

namespace dtk {

void in_parallel(std::int64_t n, std::int64_t least, const std::function<void(std::int64_t, std::int64_t)>& work) {
    if (n <= 0) return;
    if (n <= least || at::get_num_threads() == 1 || at::in_parallel_region()) return work(0, n);
    // A loop inside LibTorch over that many bytes, which nobody touches: where a share begins is its number.
    auto numbers = at::empty({n}, at::kByte);
    const auto* const begin = static_cast<const char*>(numbers.const_data_ptr());
    at::TensorIterator::nullary_op(numbers).for_each(
        [&](char** data, const std::int64_t*, std::int64_t count) {
            const auto first = static_cast<std::int64_t>(data[0] - begin);
            work(first, first + count);
        },
        least);
}

}  // namespace dtk
