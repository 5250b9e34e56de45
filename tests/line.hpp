#pragma once
// The exact probability flow of the mixture gmm1d on the line.
#include <cmath>
#include <cstdint>
#include <numbers>

#include <dtk/schedule.hpp>

namespace line {

inline double phi(double z) { return std::erfc(-z / std::numbers::sqrt2) / 2; }

/// Distribution function of gmm1d noised to α, σ.
inline double cdf(double x, double alpha, double sigma) {
    constexpr double w[] = {0.3, 0.5, 0.2}, mu[] = {-2, 0.5, 3}, var[] = {0.25, 0.09, 0.5};
    double sum = 0;
    for (int k = 0; k < 3; ++k)
        sum += w[k] * phi((x - alpha * mu[k]) / std::sqrt(alpha * alpha * var[k] + sigma * sigma));
    return sum;
}

/// The probability flow on the line keeps quantiles, so x_s = F_s⁻¹(F_t(x_t)) exactly.
inline double flow(double x, const dtk::NoiseLevels& l, std::int64_t t, std::int64_t s) {
    const double u = cdf(x, l.alpha(t), l.sigma(t));
    double lo = -20, hi = 20;
    for (int i = 0; i < 100; ++i) {
        const double mid = (lo + hi) / 2;
        (cdf(mid, l.alpha(s), l.sigma(s)) < u ? lo : hi) = mid;
    }
    return (lo + hi) / 2;
}

}  // namespace line
