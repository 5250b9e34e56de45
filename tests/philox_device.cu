// Compiled, not run: nvcc accepts the random numbers' arithmetic on the device.
#include <dtk/philox.hpp>

namespace {

template <class T>
__device__ void store(dtk::philox::Words w, T* out, std::int64_t left);

template <>
__device__ void store(dtk::philox::Words w, float* out, std::int64_t left) {
    float z[4];
    dtk::philox::normal_pair(w.w0, w.w1, z[0], z[1]);
    dtk::philox::normal_pair(w.w2, w.w3, z[2], z[3]);
    for (int i = 0; i < 4 && i < left; ++i) out[i] = z[i];
}

template <>
__device__ void store(dtk::philox::Words w, double* out, std::int64_t left) {
    double z[2];
    dtk::philox::normal_pair(w, z[0], z[1]);
    for (int i = 0; i < 2 && i < left; ++i) out[i] = z[i];
}

}  // namespace

/// One block of Philox a thread; x counts the blocks of a sample, y the samples.
template <class T>
__global__ void fill_normal(T* out, std::int64_t row_size, std::uint64_t seed, std::uint64_t stream, std::uint32_t step,
                            std::uint32_t first_sample) {
    constexpr int per_block = 16 / sizeof(T);
    const std::uint32_t block = blockIdx.x * blockDim.x + threadIdx.x;
    const std::int64_t element = std::int64_t{block} * per_block;
    if (element >= row_size) return;
    const auto place = dtk::philox::counter(dtk::philox::Kind::normal, block, first_sample + blockIdx.y, step, stream);
    store(dtk::philox::philox4x32(place, dtk::philox::key(seed, stream)), out + blockIdx.y * row_size + element,
          row_size - element);
}

template __global__ void fill_normal<float>(float*, std::int64_t, std::uint64_t, std::uint64_t, std::uint32_t,
                                            std::uint32_t);
template __global__ void fill_normal<double>(double*, std::int64_t, std::uint64_t, std::uint64_t, std::uint32_t,
                                             std::uint32_t);
