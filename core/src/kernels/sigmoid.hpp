#pragma once
// e^x and the logistic function in float32, for loops that compilers vectorise. Of each file its own, because files are
// compiled for different instruction sets.

namespace dtk::kernels {

/// e^x to 2 units in the last place where that is a normal number, huge or nearly 0 beyond.
static inline float exponential(float x) {
    constexpr float shift = 12582912.0F;  // 1.5·2^23: adding it rounds to a whole number, which stands in the low bits
    const float shifted = x * 1.44269504F + shift, n = shifted - shift;
    const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // x − n·ln 2, in two parts
    const float p =
        1 + r * (1 + r * (1.0F / 2 +
                          r * (1.0F / 6 + r * (1.0F / 24 + r * (1.0F / 120 + r * (1.0F / 720 + r * (1.0F / 5040)))))));
    int exponent = __builtin_bit_cast(int, shifted) - __builtin_bit_cast(int, shift);  // whole numbers are clamped
    exponent = exponent < -126 ? -126 : exponent;                                      // in vectors, floats are not
    exponent = exponent > 127 ? 127 : exponent;
    return p * __builtin_bit_cast(float, (exponent + 127) << 23);
}

static inline float sigmoid(float z) { return 1 / (1 + exponential(-z)); }

}  // namespace dtk::kernels
