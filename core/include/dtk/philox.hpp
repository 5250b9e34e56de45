#pragma once
// The arithmetic of dtk's random numbers, the same on the host and on a CUDA device: C++17, no library function.
//
// Every number is a pure function of (seed, stream, step, sample, element). Only integer operations, IEEE add,
// subtract, multiply, divide and square root are used, so the bits are equal on every machine, provided that the
// compiler does not contract a*b + c: GCC and Clang need -ffp-contract=off (always set by dtk's build), nvcc needs
// --fmad=false. The bits are a promise: tests/random.cpp pins them.
#include <cstdint>

#ifdef __FAST_MATH__
#error "dtk's random numbers need exact IEEE arithmetic: compile without -ffast-math"
#endif

#ifdef __CUDACC__
#define DTK_HOST_DEVICE __host__ __device__
#else
#define DTK_HOST_DEVICE
#endif

namespace dtk::philox {

struct Key {
    std::uint32_t lo, hi;
};

/// A counter going in, four independent random words coming out.
struct Words {
    std::uint32_t w0, w1, w2, w3;
};

/// Philox4x32: one of its rounds, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
DTK_HOST_DEVICE inline Words round(Words c, Key key) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c.w0;
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * c.w2;
    return {static_cast<std::uint32_t>(b >> 32) ^ c.w1 ^ key.lo, static_cast<std::uint32_t>(b),
            static_cast<std::uint32_t>(a >> 32) ^ c.w3 ^ key.hi, static_cast<std::uint32_t>(a)};
}

DTK_HOST_DEVICE constexpr Key round_key(Key key, std::uint32_t round) {
    return {key.lo + round * 0x9E3779B9u, key.hi + round * 0xBB67AE85u};
}

/// Philox4x32-10. Written out, because a loop over rounds keeps compilers from vectorising over counters.
DTK_HOST_DEVICE inline Words philox4x32(Words c, Key key) {
    c = round(round(c, key), round_key(key, 1));
    c = round(round(c, round_key(key, 2)), round_key(key, 3));
    c = round(round(c, round_key(key, 4)), round_key(key, 5));
    c = round(round(c, round_key(key, 6)), round_key(key, 7));
    return round(round(c, round_key(key, 8)), round_key(key, 9));
}

/// What the words are for. Kinds never share words, so a normal and a uniform of one address are independent.
enum class Kind : std::uint32_t { normal, uniform, integer, order };

/// Blocks of one sample, of one kind: the first word of a counter holds the kind in its two upper bits.
inline constexpr std::uint64_t max_blocks = std::uint64_t{1} << 30;

/// `stream` is a 64-bit hash of the stream's name: the counter holds its low half, the high half alters the key. Within
/// one seed two streams coincide only if all 64 bits do.
DTK_HOST_DEVICE constexpr Key key(std::uint64_t seed, std::uint64_t stream) {
    return {static_cast<std::uint32_t>(seed),
            static_cast<std::uint32_t>(seed >> 32) ^ static_cast<std::uint32_t>(stream >> 32)};
}

/// A block holds four numbers of 32 bits or two of 64: element e of a sample lies in block e / 4 or e / 2.
DTK_HOST_DEVICE constexpr Words counter(Kind kind, std::uint32_t block, std::uint32_t sample, std::uint32_t step,
                                        std::uint64_t stream) {
    return {static_cast<std::uint32_t>(kind) << 30 | block, sample, step, static_cast<std::uint32_t>(stream)};
}

namespace detail {

template <class To, class From>
DTK_HOST_DEVICE inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof(to));
    return to;
}

// Exact. By way of the bits of 2^52 + w, because baseline x86-64 has no vector conversion from unsigned integers.
DTK_HOST_DEVICE inline double to_double(std::uint32_t w) {
    return bits_as<double>(std::uint64_t{0x4330000000000000u} | w) - 0x1p52;
}

}  // namespace detail

/// [0, 1) in steps of 2^-24.
DTK_HOST_DEVICE inline float uniform(std::uint32_t w) {
    return static_cast<float>(static_cast<std::int32_t>(w >> 8)) * 0x1p-24f;
}

/// [0, 1) in steps of 2^-53.
DTK_HOST_DEVICE inline double uniform(std::uint32_t hi, std::uint32_t lo) {
    return detail::to_double(hi) * 0x1p-32 + detail::to_double(lo >> 11) * 0x1p-53;
}

/// 0 … n − 1 from a 64-bit word: the upper half of their product. A value's probability is off by at most 2^-64.
DTK_HOST_DEVICE constexpr std::uint64_t below(std::uint64_t word, std::uint64_t n) {
    const std::uint64_t w1 = word >> 32, w0 = word & 0xFFFFFFFFu, n1 = n >> 32, n0 = n & 0xFFFFFFFFu;
    const std::uint64_t middle = w1 * n0 + (w0 * n0 >> 32);
    return w1 * n1 + (middle >> 32) + ((w0 * n1 + (middle & 0xFFFFFFFFu)) >> 32);
}

namespace detail {

DTK_HOST_DEVICE inline float square_root(float x) {
#ifdef __CUDA_ARCH__
    return __fsqrt_rn(x);
#else
    return __builtin_sqrtf(x);
#endif
}
DTK_HOST_DEVICE inline double square_root(double x) {
#ifdef __CUDA_ARCH__
    return __dsqrt_rn(x);
#else
    return __builtin_sqrt(x);
#endif
}

// The series are minimax polynomials (Remez exchange in 50 digits, coefficients rounded to nearest); the comments give
// the largest relative error that the polynomial itself adds to the function.

// (log((1 + s) / (1 - s)) - 2 s) / s^3 over z = s^2, |s| <= (sqrt 2 - 1) / (sqrt 2 + 1); 8e-10 and 1.3e-18
DTK_HOST_DEVICE inline float log_series(float z) { return 0x1.55557ap-1f + z * (0x1.995ebap-2f + z * 0x1.31e2f4p-2f); }
DTK_HOST_DEVICE inline double log_series(double z) {
    return 0x1.5555555555592p-1 +
           z * (0x1.999999997fdb3p-2 +
                z * (0x1.24924941f151bp-2 +
                     z * (0x1.c71c52093ed37p-3 +
                          z * (0x1.74663eedf6e1dp-3 + z * (0x1.39a1ba314aa2fp-3 + z * 0x1.2f0568a84ffb1p-3)))));
}

// sin(pi/4 y) / y over z = y^2 in [0, 1]; 3.3e-9 and 3.4e-18
DTK_HOST_DEVICE inline float sin_series(float z) {
    return 0x1.921fb6p-1f + z * (-0x1.4abbbap-4f + z * (0x1.465e92p-9f + z * -0x1.2d9302p-15f));
}
DTK_HOST_DEVICE inline double sin_series(double z) {
    return 0x1.921fb54442d18p-1 +
           z * (-0x1.4abbce625be41p-4 +
                z * (0x1.466bc67758700p-9 +
                     z * (-0x1.32d2cce2d538ap-15 +
                          z * (0x1.50782fca3af0ap-22 + z * (-0x1.e30063a1b8c00p-30 + z * 0x1.e3eed62bb5018p-38)))));
}

// (cos(pi/4 y) - 1) / z over z = y^2 in [0, 1]; 8e-11 and 5e-20
DTK_HOST_DEVICE inline float cos_series(float z) {
    return -0x1.3bd3ccp-2f + z * (0x1.03c1dep-6f + z * (-0x1.55c664p-12f + z * 0x1.d9f7b8p-19f));
}
DTK_HOST_DEVICE inline double cos_series(double z) {
    return -0x1.3bd3cc9be45dep-2 +
           z * (0x1.03c1f081b5ab0p-6 +
                z * (-0x1.55d3c7e3c95bcp-12 +
                     z * (0x1.e1f50683b4301p-19 +
                          z * (-0x1.a6d1ecb743441p-26 + z * (0x1.f9cc6ad2607f7p-34 + z * -0x1.b26fe92617f3fp-42)))));
}

template <class T>
struct Format;

template <>
struct Format<float> {
    using Bits = std::uint32_t;
    static constexpr int mantissa = 23, bias = 127;
    static constexpr Bits sqrt_half = 0x3F3504F3u;
    // 2 log 2 = hi + lo; the product of hi with a whole number below 64 is exact.
    static constexpr float hi = 0x1.62e4p+0f, lo = 0x1.7f7d1cp-19f;
};

template <>
struct Format<double> {
    using Bits = std::uint64_t;
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr Bits sqrt_half = 0x3FE6A09E667F3BCDu;
    static constexpr double hi = 0x1.62e42fefa39p+0, lo = 0x1.de6af278ece6p-45;
};

// bit ? a : b for a bit of 0 or 1, without a branch: on the bits, or a compiler may think that it must not compute
// both.
template <class T>
DTK_HOST_DEVICE inline T chosen(std::uint32_t bit, T a, T b) {
    using Bits = typename Format<T>::Bits;
    const Bits mask = Bits{0} - Bits{bit};
    return bits_as<T>((bits_as<Bits>(a) & mask) | (bits_as<Bits>(b) & ~mask));
}

// -2 log u for u in (0, 1], and t = 1 - u, which is what counts near u = 1. With u = 2^-k (1 + f), f in
// [sqrt 1/2 - 1, sqrt 2 - 1), and s = f / (2 + f): log(1 + f) = 2 s + s^3 series(s^2) = f - s (f - s^2 series(s^2)).
template <class T>
DTK_HOST_DEVICE inline T minus_two_log(T u, T t) {
    using F = Format<T>;
    using Bits = typename F::Bits;
    constexpr Bits one = static_cast<Bits>(F::bias) << F::mantissa;
    const Bits shifted = bits_as<Bits>(u) + (one - F::sqrt_half);
    const std::int32_t k = F::bias - static_cast<std::int32_t>(shifted >> F::mantissa);
    const T m = bits_as<T>((shifted & ((Bits{1} << F::mantissa) - 1)) + F::sqrt_half);
    const T f = chosen((static_cast<std::uint32_t>(k) - 1u) >> 31, -t, m - T(1));
    const T s = f / (T(2) + f);
    const T z = s * s;
    const T n = static_cast<T>(k);
    return n * F::hi + (n * F::lo + T(2) * (s * (f - z * log_series(z)) - f));
}

// A point of the circle: y in (-1, 1) is an angle within a quadrant, the two upper bits of `quadrant` say which.
template <class T>
DTK_HOST_DEVICE inline void box_muller(T u, T t, T y, std::uint32_t quadrant, T& first, T& second) {
    const T r = square_root(minus_two_log(u, t));
    const T z = y * y;
    const T small = r * (y * sin_series(z));
    const T large = r * (T(1) + z * cos_series(z));
    const T turned = chosen(quadrant >> 31, -large, large);
    const std::uint32_t swap = quadrant >> 30 & 1u;
    first = chosen(swap, small, turned);
    second = chosen(swap, turned, small);
}

}  // namespace detail

/// Two independent N(0, 1) from two words, by Box and Muller. |x| < 6.8; no value is rounded to zero.
DTK_HOST_DEVICE inline void normal_pair(std::uint32_t radius, std::uint32_t angle, float& first, float& second) {
    const float u = static_cast<float>(radius) * 0x1p-32f + 0x1p-33f;
    const float t = static_cast<float>(~radius) * 0x1p-32f + 0x1p-33f;
    const float y = static_cast<float>(static_cast<std::int32_t>(angle << 2 | 2u)) * 0x1p-31f;
    detail::box_muller(u, t, y, angle, first, second);
}

/// Two independent N(0, 1) from the four words of a block: radius from w0 and w1, angle from w2 and w3. |x| < 8.7.
DTK_HOST_DEVICE inline void normal_pair(Words w, double& first, double& second) {
    const double low = detail::to_double(w.w1 >> 11) + 0.5;
    const double u = detail::to_double(w.w0) * 0x1p-32 + low * 0x1p-53;
    const double t = detail::to_double(~w.w0) * 0x1p-32 + (0x1p21 - low) * 0x1p-53;
    const double y =
        static_cast<double>(static_cast<std::int32_t>(w.w2 << 2)) * 0x1p-31 + (detail::to_double(w.w3) + 0.5) * 0x1p-61;
    detail::box_muller(u, t, y, w.w2, first, second);
}

}  // namespace dtk::philox
