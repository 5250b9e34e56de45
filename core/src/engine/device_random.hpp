#pragma once
// Random numbers made on a CUDA device by libdtk_cuda.so, which lies beside libdtk.so where dtk was built with nvcc.
#include <string>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

#include "cuda/draw.hpp"

namespace dtk {

/// Why a CUDA device has its random numbers made on the host and copied; empty where it makes them itself.
DTK_API std::string why_host_numbers(at::Device device);

/// Does the device make its own? The answer is found once for each.
bool makes_numbers(at::Device device);

/// Fills `out`, float32 or float64 on the device, [rows, row_size] and not empty, on LibTorch's current stream there,
/// and does not wait. The draw's samples, if any, are those of `samples`, on the CPU.
void fill_on_device(Draw draw, const Tensor& samples, const Tensor& out, std::int64_t rows, std::int64_t row_size);

}  // namespace dtk
