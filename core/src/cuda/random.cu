// libdtk_cuda.so: random numbers made where they are needed, with the bits they have on the host. Built by nvcc alone,
// with the CUDA runtime inside; the engine hands over plain memory and LibTorch's stream (engine/device_random.cpp).
// Every function answers what went wrong, or null.
#include <algorithm>

#include "cuda/draw.hpp"

#define DTK_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using dtk::Draw;

constexpr int threads_of_group = 256;

template <class Law>
__global__ void __launch_bounds__(threads_of_group)
    fill(Draw draw, typename Law::Number* out, std::int64_t rows, std::int64_t row_size) {
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    dtk::fill_as_thread<Law>(thread, std::int64_t{gridDim.x} * blockDim.x, draw, out, rows, row_size);
}

const char* text_of(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }

template <class Law>
const char* launch(const Draw& draw, void* out, std::int64_t rows, std::int64_t row_size, cudaStream_t stream) {
    const std::int64_t blocks = rows * dtk::blocks_of_row(row_size, Law::per_block);
    const auto groups =
        static_cast<unsigned>(std::min<std::int64_t>((blocks + threads_of_group - 1) / threads_of_group, 1 << 16));
    fill<Law><<<groups, threads_of_group, 0, stream>>>(draw, static_cast<typename Law::Number*>(out), rows, row_size);
    return text_of(cudaGetLastError());
}

}  // namespace

/// Can this code run on the device?
DTK_EXPORT const char* dtk_cuda_problem(int device) {
    if (const auto error = cudaSetDevice(device); error != cudaSuccess) return cudaGetErrorString(error);
    cudaFuncAttributes attributes;
    return text_of(cudaFuncGetAttributes(&attributes, fill<dtk::NormalFloat>));
}

/// Fills [rows, row_size], contiguous and not empty, with float32 or, if `wide`, float64; asks nothing of the host.
DTK_EXPORT const char* dtk_cuda_fill(const Draw* draw, bool wide, void* out, std::int64_t rows, std::int64_t row_size,
                                     int device, void* stream) {
    if (const auto error = cudaSetDevice(device); error != cudaSuccess) return cudaGetErrorString(error);
    const auto on = static_cast<cudaStream_t>(stream);
    if (draw->kind == dtk::philox::Kind::normal)
        return wide ? launch<dtk::NormalDouble>(*draw, out, rows, row_size, on)
                    : launch<dtk::NormalFloat>(*draw, out, rows, row_size, on);
    return wide ? launch<dtk::UniformDouble>(*draw, out, rows, row_size, on)
                : launch<dtk::UniformFloat>(*draw, out, rows, row_size, on);
}
