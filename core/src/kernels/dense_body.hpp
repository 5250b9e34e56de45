// The bodies of kernels/dense.hpp, for the instruction set that the including file is compiled for. It defines
// DTK_DENSE, the table's name, and the shape of a tile that its registers hold: `lanes` numbers in a vector, `tall`
// rows and `wide` vectors.
#include "kernels/dense.hpp"
#include "kernels/sigmoid.hpp"

namespace dtk::kernels {
namespace {

using Vector = float __attribute__((vector_size(lanes * sizeof(float)), aligned(4), may_alias));

inline Vector load(const float* at) { return *reinterpret_cast<const Vector*>(at); }
inline void store(float* at, Vector x) { *reinterpret_cast<Vector*>(at) = x; }

template <int n>
struct Number {
    constexpr int operator()() const { return n; }
};

/// A tile of the product, its sums in registers.
template <int rows, int vectors>
inline void tile(Strided a, const float* b, std::int64_t b_rows, const float* start, bool adds, float* c,
                 std::int64_t c_rows, std::int64_t K) {
    Vector sum[rows][vectors];
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m)
#pragma GCC unroll 16
        for (int n = 0; n < vectors; ++n)
            sum[m][n] = start ? load(start + n * lanes) : adds ? load(c + m * c_rows + n * lanes) : Vector{};
    for (std::int64_t k = 0; k < K; ++k) {
        Vector right[vectors];
#pragma GCC unroll 16
        for (int n = 0; n < vectors; ++n) right[n] = load(b + k * b_rows + n * lanes);
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m) {
            const Vector left = Vector{} + a.data[m * a.rows + k * a.columns];
#pragma GCC unroll 16
            for (int n = 0; n < vectors; ++n) sum[m][n] += left * right[n];
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m)
#pragma GCC unroll 16
        for (int n = 0; n < vectors; ++n) store(c + m * c_rows + n * lanes, sum[m][n]);
}

template <int vectors>
void columns(Strided a, const float* b, std::int64_t b_rows, const float* start, bool adds, float* c,
             std::int64_t c_rows, std::int64_t M, std::int64_t K) {
    std::int64_t m = 0;
    const auto some = [&](auto rows) {
        for (; m + rows() <= M; m += rows())
            tile<rows(), vectors>({a.data + m * a.rows, a.rows, a.columns}, b, b_rows, start, adds, c + m * c_rows,
                                  c_rows, K);
    };
    some(Number<tall>{});
    some(Number<2>{});
    some(Number<1>{});
}

void product(Strided a, const float* b, std::int64_t b_rows, const float* start, bool adds, float* c,
             std::int64_t c_rows, std::int64_t M, std::int64_t N, std::int64_t K) {
    std::int64_t n = 0;
    const auto some = [&](auto vectors) {
        for (; n + vectors() * lanes <= N; n += vectors() * lanes)
            columns<vectors()>(a, b + n, b_rows, start ? start + n : nullptr, adds, c + n, c_rows, M, K);
    };
    some(Number<wide>{});
    some(Number<1>{});
}

void silu(float* __restrict h, float* __restrict slope, std::int64_t n) {
    if (slope)
        for (std::int64_t i = 0; i < n; ++i) {
            const float z = h[i], s = sigmoid(z), y = z * s;
            h[i] = y;
            slope[i] = s + y * (1 - s);
        }
    else
        for (std::int64_t i = 0; i < n; ++i) h[i] *= sigmoid(h[i]);
}

void logistic(float* __restrict h, float* __restrict slope, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) h[i] = sigmoid(h[i]);
    if (slope)
        for (std::int64_t i = 0; i < n; ++i) slope[i] = h[i] * (1 - h[i]);
}

void multiply(float* __restrict x, const float* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) x[i] *= y[i];
}

void add_rows(const float* x, std::int64_t M, std::int64_t N, float* __restrict sum) {
    for (std::int64_t m = 0; m < M; ++m)
        for (std::int64_t n = 0; n < N; ++n) sum[n] += x[m * N + n];
}

}  // namespace

extern const Dense DTK_DENSE;
const Dense DTK_DENSE{product, silu, logistic, multiply, add_rows};

}  // namespace dtk::kernels
