#include "study/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <boost/math/distributions/students_t.hpp>

#include <dtk/error.hpp>

namespace dtk {

namespace {

using boost::math::students_t;

struct Moments {
    double mean = 0, variance = 0, skewness = 0;
};

Moments moments(const std::vector<double>& values) {
    const auto n = static_cast<double>(values.size());
    Moments m;
    m.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double second = 0, third = 0;
    for (const double value : values) second += std::pow(value - m.mean, 2), third += std::pow(value - m.mean, 3);
    if (n > 1) m.variance = second / (n - 1);
    if (n > 2 && second > 0) m.skewness = std::sqrt(n * (n - 1)) / (n - 2) * (third / n) / std::pow(second / n, 1.5);
    return m;
}

std::pair<double, double> interval(const Moments& m, std::size_t n, double level) {
    const double t =
        boost::math::quantile(boost::math::complement(students_t(static_cast<double>(n - 1)), (1 - level) / 2));
    const double half = t * std::sqrt(m.variance / static_cast<double>(n));
    return {m.mean - half, m.mean + half};
}

/// The two-sided chance of a mean so far from 0 if the truth were 0. Without any scatter it is 0, or 1 where the mean
/// is 0.
double chance(const Moments& m, std::size_t n) {
    if (m.variance == 0) return m.mean == 0 ? 1 : 0;
    const double t = std::abs(m.mean) / std::sqrt(m.variance / static_cast<double>(n));
    return 2 * boost::math::cdf(boost::math::complement(students_t(static_cast<double>(n - 1)), t));
}

/// Twice the standard error that the skewness of n normal values has.
bool visibly_skewed(const Moments& m, std::size_t count) {
    if (count < 4) return false;
    const auto n = static_cast<double>(count);
    return std::abs(m.skewness) > 2 * std::sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)));
}

}  // namespace

Estimate estimate(const std::vector<double>& values, double level) {
    std::vector<double> finite;
    std::copy_if(values.begin(), values.end(), std::back_inserter(finite),
                 [](double value) { return std::isfinite(value); });
    if (finite.empty()) throw Error("there is no value to take the mean of");
    const auto m = moments(finite);
    Estimate e{finite.size(), m.mean};
    if (finite.size() > 1) e.interval = interval(m, finite.size(), level);
    return e;
}

std::vector<Difference> differences(const std::vector<double>& baseline, const std::vector<std::vector<double>>& arms,
                                    double level) {
    std::vector<Difference> all;
    const auto comparisons = static_cast<double>(arms.size());
    for (const auto& arm : arms) {
        std::vector<double> pairs;
        for (std::size_t i = 0; i < std::min(arm.size(), baseline.size()); ++i)
            if (std::isfinite(arm[i] - baseline[i])) pairs.push_back(arm[i] - baseline[i]);
        auto& d = all.emplace_back();
        if (pairs.empty()) continue;
        d.estimate = estimate(pairs, level);
        if (pairs.size() < 2) continue;
        const auto m = moments(pairs);
        d.simultaneous = interval(m, pairs.size(), 1 - (1 - level) / comparisons);
        d.p = chance(m, pairs.size());
        d.skewed = visibly_skewed(m, pairs.size());
    }
    // Holm: the k-th smallest of m is multiplied by m − k + 1, and none is below an earlier one.
    std::vector<Difference*> tested;
    for (auto& d : all)
        if (d.p) tested.push_back(&d);
    std::sort(tested.begin(), tested.end(), [](const auto* a, const auto* b) { return *a->p < *b->p; });
    double least = 0;
    for (std::size_t k = 0; k < tested.size(); ++k) {
        least = std::max(least, std::min(1.0, *tested[k]->p * static_cast<double>(tested.size() - k)));
        tested[k]->p_holm = least;
    }
    return all;
}

std::vector<Estimate> ranks(const std::vector<std::vector<double>>& arms, double level) {
    std::vector<std::vector<double>> rank(arms.size());
    std::size_t seeds = arms.empty() ? 0 : arms[0].size();
    for (const auto& arm : arms) seeds = std::min(seeds, arm.size());
    for (std::size_t seed = 0; seed < seeds; ++seed) {
        if (std::any_of(arms.begin(), arms.end(), [&](const auto& arm) { return !std::isfinite(arm[seed]); })) continue;
        for (std::size_t a = 0; a < arms.size(); ++a) {
            double place = 1;
            for (std::size_t b = 0; b < arms.size(); ++b)
                if (b != a) place += arms[b][seed] < arms[a][seed] ? 1 : arms[b][seed] == arms[a][seed] ? 0.5 : 0;
            rank[a].push_back(place);
        }
    }
    std::vector<Estimate> all;
    for (const auto& of_arm : rank) all.push_back(of_arm.empty() ? Estimate{} : estimate(of_arm, level));
    return all;
}

}  // namespace dtk
