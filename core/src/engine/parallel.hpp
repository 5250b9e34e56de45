#pragma once
#include <cstdint>
#include <functional>

#include <dtk/api.hpp>

namespace dtk {

/// Calls work(first, last) for shares of 0 … n − 1 that are together all of it, each at least so long, side by side on
/// LibTorch's threads. (Its at::parallel_for is a template of loops that are shared out where it is compiled, by
/// OpenMP, which dtk is not compiled with: two runtimes of it in a process stand in each other's way.)
DTK_API void in_parallel(std::int64_t n, std::int64_t least,
                         const std::function<void(std::int64_t first, std::int64_t last)>& work);

}  // namespace dtk
