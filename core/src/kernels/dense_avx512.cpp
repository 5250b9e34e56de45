// For processors with AVX-512: 32 registers of 16 numbers.
#ifdef __x86_64__
namespace dtk::kernels {
constexpr int lanes = 16, tall = 6, wide = 4;
}
#define DTK_DENSE dense_avx512
#include "kernels/dense_body.hpp"
#endif
