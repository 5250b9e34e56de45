// For processors with AVX2 and FMA: 16 registers of 8 numbers.
#ifdef __x86_64__
namespace dtk::kernels {
constexpr int lanes = 8, tall = 6, wide = 2;
}
#define DTK_DENSE dense_avx2
#include "kernels/dense_body.hpp"
#endif
