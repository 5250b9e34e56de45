#pragma once
// sin x in float32, for loops that compilers vectorise. Of each file its own, because files are compiled for different
// instruction sets.

namespace dtk::kernels {

/// To 3e-7 for |x| below 10,000.
static inline float sine(float x) {
    constexpr float shift = 12582912.0F;  // 1.5·2^23: adding it rounds to a whole number, which stands in the low bits
    const float shifted = x * 0.318309886F + shift, n = shifted - shift;
    // x − n·π, π in four parts: the first products are exact.
    const float r =
        ((x - n * 3.140625F) - n * 9.670257568359375e-4F) - n * 6.277114152908325e-7F - n * 1.2154201256553421e-10F;
    const float z = r * r;
    // The minimax polynomial of SLEEF's sin (Shibata & Petrogalli 2020).
    const float p =
        -0.16666659712791443F + z * (0.00833307858556509F + z * (-1.9810690719168633e-4F + z * 2.6083159809786594e-6F));
    const float s = r + z * (p * r);
    const unsigned odd = __builtin_bit_cast(unsigned, shifted) << 31;
    return __builtin_bit_cast(float, __builtin_bit_cast(unsigned, s) ^ odd);
}

}  // namespace dtk::kernels
