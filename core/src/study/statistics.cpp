// The statistics of paired comparisons.
#include "study/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>
#include <tuple>

#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/quadrature/gauss_kronrod.hpp>

#include <dtk/error.hpp>

namespace dtk {

namespace {

using boost::math::students_t;

/// Values that agree so far in size are one value and the rounding of different orders of summation.
constexpr double rounding = 1e-9;

struct Moments {
    double mean = 0, variance = 0, skewness = 0;
};

Moments moments(const std::vector<double>& values) {
    const auto n = static_cast<double>(values.size());
    Moments m;
    m.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double second = 0, third = 0;
    for (const double value : values) {
        second += std::pow(value - m.mean, 2);
        third += std::pow(value - m.mean, 3);
    }
    if (n > 1) m.variance = second / (n - 1);
    if (n > 2 && second > 0) m.skewness = std::sqrt(n * (n - 1)) / (n - 2) * (third / n) / std::pow(second / n, 1.5);
    return m;
}

double quantile_of_t(double freedom, double upper_tail) {
    return boost::math::quantile(boost::math::complement(students_t(freedom), upper_tail));
}

/// error: two-sided, what the interval may miss.
Interval student_interval(double mean, double sd, std::size_t n, double error) {
    const double half = quantile_of_t(static_cast<double>(n - 1), error / 2) * sd / std::sqrt(static_cast<double>(n));
    return {mean - half, mean + half};
}

/// The two-sided chance of a mean so far from 0 if the truth were 0.
double student_p(double mean, double sd, std::size_t n) {
    const double t = std::abs(mean) / (sd / std::sqrt(static_cast<double>(n)));
    return 2 * boost::math::cdf(boost::math::complement(students_t(static_cast<double>(n - 1)), t));
}

/// Twice the standard error that the skewness of n normal values has. Of four values no skewness is so large.
std::optional<bool> visibly_skewed(const Moments& m, std::size_t count) {
    if (count < 5) return std::nullopt;
    const auto n = static_cast<double>(count);
    return std::abs(m.skewness) > 2 * std::sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)));
}

/// The largest of the sizes of finite values.
double size_of(const std::vector<double>& values) {
    double size = 0;
    for (const double value : values)
        if (std::isfinite(value)) size = std::max(size, std::abs(value));
    return size;
}

bool all_alike(const std::vector<double>& values, double size) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    return *least == *most || *most - *least <= rounding * size;
}

/// Ranks of the sizes of differences, 0 left out, twice over so that shared ones are whole numbers; with the signs.
struct SignedRanks {
    std::vector<std::int64_t> twice;
    std::int64_t positive = 0, sum = 0;
    explicit SignedRanks(std::vector<double> differences) {
        std::erase(differences, 0.0);
        std::sort(differences.begin(), differences.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
        for (std::size_t first = 0; first < differences.size();) {
            auto last = first;
            while (last < differences.size() && std::abs(differences[last]) == std::abs(differences[first])) ++last;
            for (auto i = first; i < last; ++i) {
                twice.push_back(static_cast<std::int64_t>(first + 1 + last));
                sum += twice.back();
                if (differences[i] > 0) positive += twice.back();
            }
            first = last;
        }
    }
};

}  // namespace

Estimate estimate(const std::vector<double>& values, double level) {
    if (values.empty()) throw Error("there is no value to take the mean of");
    Estimate e{values.size(), std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size())};
    e.constant = values.size() > 1 && all_alike(values, size_of(values));
    if (values.size() < 2 || !std::isfinite(e.mean)) return e;
    e.sd = std::sqrt(moments(values).variance);
    if (!e.constant) e.interval = student_interval(e.mean, e.sd, values.size(), 1 - level);
    return e;
}

Estimate estimate(const Values& values, double level) {
    std::vector<double> set;
    for (const auto& value : values)
        if (value) set.push_back(*value);
    return estimate(set, level);
}

Difference difference(const Values& other, const Values& arm, const Family& family) {
    // The pairs, and their differences; where both are infinite alike, neither is better.
    std::vector<double> of_arm, of_other, pairs;
    for (std::size_t i = 0; i < std::min(arm.size(), other.size()); ++i) {
        if (!arm[i] || !other[i]) continue;
        of_arm.push_back(*arm[i]);
        of_other.push_back(*other[i]);
        pairs.push_back(*arm[i] == *other[i] ? 0 : *arm[i] - *other[i]);
    }
    Difference d;
    if (pairs.empty()) return d;
    const double size = std::max(size_of(of_arm), size_of(of_other));
    for (auto& pair : pairs)
        if (std::abs(pair) <= rounding * size) pair = 0;
    d.infinite = static_cast<std::size_t>(
        std::count_if(pairs.begin(), pairs.end(), [](double pair) { return std::isinf(pair); }));
    d.estimate = estimate(pairs, family.level);
    const auto n = pairs.size();
    const SignedRanks ranks(pairs);
    d.direction = static_cast<double>(2 * ranks.positive - ranks.sum);
    if (n < 2) return d;

    // Where neither depends on the seed there is nothing to test, and nothing to be estimated.
    d.exact = all_alike(of_arm, size_of(of_arm)) && all_alike(of_other, size_of(of_other));
    d.estimate.constant = d.exact || all_alike(pairs, size);
    if (d.estimate.constant) d.estimate.interval.reset();
    if (d.exact) return d;
    d.rank_p = signed_rank_p(pairs);
    const bool scatters = d.infinite == 0 && !d.estimate.constant;
    d.test = scatters ? Test::student : Test::signed_rank;
    d.p = scatters ? student_p(d.estimate.mean, d.estimate.sd, n) : d.rank_p.value_or(1);
    if (!scatters) return d;
    d.simultaneous = student_interval(d.estimate.mean, d.estimate.sd, n, family.error());
    d.equivalence = student_interval(d.estimate.mean, d.estimate.sd, n, std::min(1.0, 2 * family.error()));
    d.skewed = visibly_skewed(moments(pairs), n);
    d.detectable = detectable_difference(d.estimate.sd, n, family.error());
    d.pairing = (moments(of_arm).variance + moments(of_other).variance) / (d.estimate.sd * d.estimate.sd);
    return d;
}

void adjust(const std::vector<Difference*>& family) {
    // Holm: the k-th smallest of m is multiplied by m − k + 1, and none is below an earlier one.
    std::vector<Difference*> tested;
    for (auto* d : family)
        if (d->p) tested.push_back(d);
    std::sort(tested.begin(), tested.end(), [](const auto* a, const auto* b) { return *a->p < *b->p; });
    double least = 0;
    for (std::size_t k = 0; k < tested.size(); ++k) {
        least = std::max(least, std::min(1.0, *tested[k]->p * static_cast<double>(tested.size() - k)));
        tested[k]->p_holm = least;
    }
}

std::vector<Difference> differences(const Values& baseline, const std::vector<Values>& arms, double level) {
    std::vector<Difference> all;
    std::vector<Difference*> family;
    for (const auto& arm : arms) all.push_back(difference(baseline, arm, {level, arms.size()}));
    for (auto& d : all) family.push_back(&d);
    adjust(family);
    return all;
}

std::optional<double> signed_rank_p(const std::vector<double>& differences) {
    const SignedRanks ranks(differences);
    if (ranks.twice.empty()) return std::nullopt;
    // How many of the 2^n signs give each sum of positive ranks, as shares.
    std::vector<double> share(static_cast<std::size_t>(ranks.sum) + 1, 0.0);
    share[0] = 1;
    std::int64_t upto = 0;
    for (const auto rank : ranks.twice) {
        for (auto sum = upto; sum >= 0; --sum) {
            const double half = share[static_cast<std::size_t>(sum)] / 2;
            share[static_cast<std::size_t>(sum)] = half;
            share[static_cast<std::size_t>(sum + rank)] += half;
        }
        upto += rank;
    }
    const auto least = static_cast<std::ptrdiff_t>(std::min(ranks.positive, ranks.sum - ranks.positive));
    return std::min(1.0, 2 * std::accumulate(share.begin(), share.begin() + least + 1, 0.0));
}

std::size_t signed_rank_seeds(double error) {
    std::size_t n = 1;
    while (std::ldexp(2.0, -static_cast<int>(n)) > error) ++n;
    return n;
}

std::vector<Estimate> ranks(const std::vector<Values>& arms, bool less, double level) {
    std::vector<std::vector<double>> rank(arms.size());
    std::size_t seeds = arms.empty() ? 0 : arms[0].size();
    for (const auto& arm : arms) seeds = std::min(seeds, arm.size());
    for (std::size_t seed = 0; seed < seeds; ++seed) {
        if (std::any_of(arms.begin(), arms.end(), [&](const auto& arm) { return !arm[seed]; })) continue;
        for (std::size_t a = 0; a < arms.size(); ++a) {
            double place = 1;
            for (std::size_t b = 0; b < arms.size(); ++b) {
                const double mine = *arms[a][seed], theirs = *arms[b][seed];
                if (b != a) place += mine == theirs ? 0.5 : (theirs < mine) == less ? 1 : 0;
            }
            rank[a].push_back(place);
        }
    }
    std::vector<Estimate> all;
    for (const auto& of_arm : rank) all.push_back(of_arm.empty() ? Estimate{} : estimate(of_arm, level));
    return all;
}

double power(double difference, double sd, std::size_t n, double error) {
    const auto freedom = static_cast<double>(n - 1);
    const double away = std::abs(difference) / sd * std::sqrt(static_cast<double>(n)),
                 bound = quantile_of_t(freedom, error / 2);
    // t = (Z + away)/s, s² ~ χ²/freedom: the normal law's tails beyond ± bound·s, over the quantiles of s.
    const boost::math::chi_squared law(freedom);
    const boost::math::normal normal;
    const auto beyond = [&](double share) {
        const double edge = bound * std::sqrt(boost::math::quantile(law, share) / freedom);
        return boost::math::cdf(normal, away - edge) + boost::math::cdf(normal, -away - edge);
    };
    return boost::math::quadrature::gauss_kronrod<double, 31>::integrate(beyond, 0.0, 1.0, 3, 1e-6);
}

double detectable_difference(double sd, std::size_t n, double error, double chance) {
    // It goes with the standard deviation, so each number of pairs is worked out once.
    static std::mutex mutex;
    static std::map<std::tuple<std::size_t, double, double>, double> known;
    const std::lock_guard lock(mutex);
    const auto [at, is_new] = known.try_emplace({n, error, chance}, 0.0);
    if (is_new) {
        double low = 0, high = 1;
        while (power(high, 1, n, error) < chance) high *= 2;
        for (int halvings = 0; halvings < 40; ++halvings) {
            const double middle = (low + high) / 2;
            (power(middle, 1, n, error) < chance ? low : high) = middle;
        }
        at->second = high;
    }
    return sd * at->second;
}

std::optional<std::size_t> seeds_needed(double difference, double sd, double error, double chance) {
    constexpr std::size_t most = 100'000;
    const auto enough = [&](std::size_t n) { return power(difference, sd, n, error) >= chance; };
    std::size_t high = 2;
    while (!enough(high))
        if ((high *= 2) > most) return std::nullopt;
    auto low = std::max<std::size_t>(2, high / 2);
    while (low < high) {
        const auto middle = (low + high) / 2;
        if (enough(middle))
            high = middle;
        else
            low = middle + 1;
    }
    return high;
}

std::vector<std::size_t> looks(std::size_t first, std::size_t limit) {
    std::vector<std::size_t> all;
    for (auto n = first; n < limit; n = std::max(n + 1, n + n / 2)) all.push_back(n);
    all.push_back(std::max(first, limit));
    return all;
}

double error_of_look(std::size_t n, std::size_t first, std::size_t limit, double error) {
    const auto all = looks(first, limit);
    const auto at = std::find(all.begin(), all.end(), n);
    if (at == all.end()) return 0;
    const auto spent = [&](std::size_t seeds) {
        const double share = static_cast<double>(seeds) / static_cast<double>(all.back());
        return error * share * share;
    };
    return spent(n) - (at == all.begin() ? 0 : spent(*(at - 1)));
}

Interval sd_interval(double sd, std::size_t n, double level) {
    const auto freedom = static_cast<double>(n - 1);
    const boost::math::chi_squared law(freedom);
    const double tail = (1 - level) / 2;
    return {sd * std::sqrt(freedom / boost::math::quantile(boost::math::complement(law, tail))),
            sd * std::sqrt(freedom / boost::math::quantile(law, tail))};
}

}  // namespace dtk
