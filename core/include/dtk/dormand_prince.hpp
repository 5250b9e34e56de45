#pragma once
// Dormand and Prince's pair of orders five and four ("A Family of Embedded Runge–Kutta Formulae", 1980).
#include <array>
#include <utility>
#include <vector>

#include <dtk/tensor.hpp>
#include <dtk/time.hpp>

namespace dtk {

/// One step of dx/du = slope(x, u) from u = a to u = b, rows apart: of order five, and of order four. What
/// RowSteps::along attempts; the difference is of order five in the step's length. Seven evaluations.
template <class Slope>
std::pair<Tensor, Tensor> dormand_prince(const Tensor& x, const Time& a, const Time& b, const Slope& slope) {
    // Stage i stands at c_i and adds Σ_j a_ij k_j; the last row is the step itself; e is the difference of both
    // methods.
    static constexpr std::array<double, 7> c{0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
    static constexpr double stage[7][6] = {{},
                                           {1. / 5},
                                           {3. / 40, 9. / 40},
                                           {44. / 45, -56. / 15, 32. / 9},
                                           {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
                                           {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
                                           {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}};
    static constexpr double e[7] = {71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525, -1. / 40};

    const auto h = a.map(b, [](double a, double b) { return b - a; });
    std::vector<Tensor> k;
    const auto weighted = [&](const double* weights) {
        auto sum = weights[0] * k[0];
        for (std::size_t j = 1; j < k.size(); ++j)
            if (weights[j] != 0) sum = at::add(sum, k[j], weights[j]);
        return sum;
    };
    Tensor next = x;
    for (std::size_t i = 0; i < c.size(); ++i) {
        if (i > 0) next = x + h * weighted(stage[i]);
        k.push_back(slope(next, Time(a.map(b, [&](double a, double b) { return a + c[i] * (b - a); }).rows(x))));
    }
    return {next, next - h * weighted(e)};
}

}  // namespace dtk
