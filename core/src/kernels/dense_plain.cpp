// For all processors: as many registers of 4 numbers as the least of them have.
namespace dtk::kernels {
constexpr int lanes = 4, tall = 4, wide = 2;
}
#define DTK_DENSE dense_plain
#include "kernels/dense_body.hpp"
