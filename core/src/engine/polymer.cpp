#include <dtk/polymer.hpp>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/error.hpp>

namespace dtk {

namespace {
/// (radius of gyration / bond)², mean squares of a chain with that a: 1/(2(1 − a)) (1 − (1/L²) Σ_ij a^|i−j|)
double compactness(double a, std::int64_t L) {
    const auto n = static_cast<double>(L);
    double sum = n;
    for (std::int64_t k = 1; k < L; ++k) sum += 2 * (n - static_cast<double>(k)) * std::pow(a, static_cast<double>(k));
    return (1 - sum / (n * n)) / (2 * (1 - a));
}
}  // namespace

Tensor Polymer::map(std::int64_t L) const {
    double low = 0, high = 1 - 1e-6;
    const double least = bond * std::sqrt(compactness(low, L)), most = bond * std::sqrt(compactness(high, L));
    const double radius =
        this->radius > 0 ? this->radius : std::min(2 * std::pow(static_cast<double>(L), 0.4), 0.9 * most);
    if (L < 3 || radius < least || radius > most)
        throw Error(fmt::format("no Gaussian chain of {} residues with bonds of {} Å has a radius of gyration of {} Å",
                                L, bond, radius),
                    fmt::format("use a `radius` between {:.4g} and {:.4g} Å", least, most));
    const double wanted = std::pow(radius / bond, 2);
    for (int i = 0; i < 200; ++i) {
        const double middle = 0.5 * (low + high);
        (compactness(middle, L) < wanted ? low : high) = middle;
    }
    // Of a coordinate: E (x_i − x_{i−1})² = 2 b²/(1 + a), a third of bond².
    const double a = low, b = bond * std::sqrt((1 + a) / 6);
    const auto place = at::arange(L, at::kDouble);
    const auto apart = place.unsqueeze(1) - place.unsqueeze(0);
    auto R = at::where(apart >= 0, at::pow(at::full_like(apart, a), apart.clamp_min(0)) * b, 0.0);
    R.select(1, 0).mul_(1 / std::sqrt(1 - a * a));
    return R;
}

}  // namespace dtk
