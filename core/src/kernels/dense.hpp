#pragma once
// The arithmetic of fully connected layers in float32, once for each instruction set. Compiled for several of them, so
// nothing here may be inline and shared: what includes this includes no header of the standard library for it.
#include <cstdint>

namespace dtk::kernels {

/// Rows of activations are padded with zeros to a multiple of so many numbers, and so are rows of weights.
constexpr std::int64_t padded_to = 16;
constexpr std::int64_t padded(std::int64_t n) { return (n + padded_to - 1) / padded_to * padded_to; }

/// How a number is found in memory: at data + row·rows + column·columns.
struct Strided {
    const float* data;
    std::int64_t rows, columns;
};

struct Dense {
    /// c[m, n] ← start[n] (where there is one) or c[m, n] (where `adds`) or 0, + Σ_k a[m, k] b[k, n], k in rising
    /// order: the answer of a row is the same whatever rows stand beside it. N is a multiple of `padded_to`.
    void (*product)(Strided a, const float* b, std::int64_t b_rows, const float* start, bool adds, float* c,
                    std::int64_t c_rows, std::int64_t M, std::int64_t N, std::int64_t K);
    /// h ← φ(h) and, where there is a place for it, slope ← φ'(h)
    void (*silu)(float* h, float* slope, std::int64_t n);
    void (*sigmoid)(float* h, float* slope, std::int64_t n);
    /// x ← x·y
    void (*multiply)(float* x, const float* y, std::int64_t n);
    /// sum[n] ← sum[n] + Σ_m x[m, n]
    void (*add_rows)(const float* x, std::int64_t M, std::int64_t N, float* sum);
};

extern const Dense dense_plain;
#ifdef __x86_64__
extern const Dense dense_avx2, dense_avx512;
#endif

}  // namespace dtk::kernels
