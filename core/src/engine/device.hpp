#pragma once
#include <string>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// "cpu", "cuda" or "cuda:N" as a device that is there; loads LibTorch's CUDA half when CUDA is asked for, before
/// anything asks LibTorch whether it has CUDA. Errors: Error with what is missing; there is no falling back.
DTK_API at::Device device_of(const std::string& name);

/// A line on LibTorch and some on CUDA.
std::string device_report();

/// How many threads an operation may use; 0: as threads_for says.
void use_threads(std::int64_t threads);

}  // namespace dtk
