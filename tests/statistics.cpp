// The statistics of studies: against tables and worked examples, and by simulating studies whose truth is known.
#include "study/statistics.hpp"

#include <cmath>
#include <random>

#include "catch.hpp"

namespace {

const double missing = std::nan("");

/// How often do intervals over n seeds hold the true difference 0.3?
template <class Draw>
double coverage(int n, int repetitions, std::mt19937_64& random, Draw draw) {
    int held = 0;
    for (int i = 0; i < repetitions; ++i) {
        std::vector<double> baseline, arm;
        for (int seed = 0; seed < n; ++seed) {
            const double common = draw(random);  // what both arms share by the seed cancels
            baseline.push_back(5 * common + draw(random)), arm.push_back(5 * common + draw(random) + 0.3);
        }
        const auto [lo, hi] = dtk::differences(baseline, {arm})[0].estimate.interval.value();
        held += lo <= 0.3 && 0.3 <= hi;
    }
    return static_cast<double>(held) / repetitions;
}

}  // namespace

TEST_CASE("Student's interval is the table's") {
    // t at 97.5 %: 12.7062 for 1 degree of freedom, 2.7764 for 4, 2.2622 for 9
    const auto two = dtk::estimate({1, 3});
    CHECK(two.mean == 2);
    CHECK(two.interval->second - 2 == Approx(12.706205).epsilon(1e-6));
    const auto five = dtk::estimate({1, 2, 3, 4, 5});
    CHECK(five.interval->first == Approx(3 - 2.7764451 * std::sqrt(2.5 / 5)).epsilon(1e-7));
    CHECK(dtk::estimate({1, 2, 3, 4, 5}, 0.99).interval->first == Approx(3 - 4.6040949 * std::sqrt(0.5)).epsilon(1e-7));
}

TEST_CASE("one value has no interval, and values that are not numbers do not count") {
    CHECK_FALSE(dtk::estimate({4}).interval);
    const auto e = dtk::estimate({1, missing, 3, INFINITY});
    CHECK(e.n == 2);
    CHECK(e.mean == 2);
    CHECK_THROWS_WITH(dtk::estimate({missing}), Catch::Contains("no value"));
}

TEST_CASE("differences are paired by seed") {
    // Gosset 1908: the additional hours of sleep by two drugs, in ten patients; t = 4.0621, p = 0.002833.
    const std::vector<double> first{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0},
        second{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
    const auto d = dtk::differences(first, {second})[0];
    CHECK(d.estimate.n == 10);
    CHECK(d.estimate.mean == Approx(1.58));
    CHECK(d.estimate.interval->first == Approx(0.7001142).epsilon(1e-6));
    CHECK(d.estimate.interval->second == Approx(2.4598858).epsilon(1e-6));
    CHECK(*d.p == Approx(0.00283289).epsilon(1e-5));
    CHECK(*d.p_holm == *d.p);
}

TEST_CASE("a seed that one of the two arms lacks does not count") {
    const auto d = dtk::differences({1, 2, 3}, {{2, missing, 5}, {missing, missing, missing}, {2}});
    CHECK(d[0].estimate.n == 2);
    CHECK(d[0].estimate.mean == 1.5);
    CHECK(d[1].estimate.n == 0);
    CHECK_FALSE(d[1].p);
    CHECK(d[2].estimate.n == 1);
    CHECK_FALSE(d[2].estimate.interval);
}

TEST_CASE("several comparisons are paid for") {
    const std::vector<double> zero(6, 0.0);
    const auto moved = [](double by) {
        return std::vector<double>{by - 0.3, by + 0.1, by + 0.2, by, by - 0.1, by + 0.1};
    };
    const auto d = dtk::differences(zero, {moved(0.4), moved(0.1), moved(0.25)});
    for (const auto& one : d) {
        CHECK(one.simultaneous->first < one.estimate.interval->first);
        CHECK(one.simultaneous->second > one.estimate.interval->second);
        CHECK(*one.p_holm >= *one.p);
    }
    CHECK(*d[0].p_holm == Approx(3 * *d[0].p));
    CHECK(*d[2].p_holm == Approx(std::max(3 * *d[0].p, 2 * *d[2].p)));
    CHECK(*d[1].p_holm == Approx(std::max(*d[2].p_holm, *d[1].p)));
    // Bonferroni for three at 95 %: t at 1 − 0.05/6, 5 degrees of freedom
    CHECK((d[0].simultaneous->second - d[0].simultaneous->first) /
              (d[0].estimate.interval->second - d[0].estimate.interval->first) ==
          Approx(3.5341 / 2.5706).epsilon(1e-4));
}

TEST_CASE("differences without scatter are certain") {
    CHECK(*dtk::differences({1, 2, 3}, {{1, 2, 3}})[0].p == 1);
    CHECK(*dtk::differences({1, 2, 3}, {{2, 3, 4}})[0].p == 0);
}

TEST_CASE("ranks average over seeds, and ties share") {
    const auto r = dtk::ranks({{1, 1, 1}, {2, 2, 1}, {3, 0, 5}});
    CHECK(r[0].mean == Approx((1 + 2 + 1.5) / 3));
    CHECK(r[1].mean == Approx((2 + 3 + 1.5) / 3));
    CHECK(r[2].mean == Approx((3 + 1 + 3) / 3.0));
    CHECK(dtk::ranks({{1, missing}, {2, 2}})[0].n == 1);
}

TEST_CASE("visibly skewed differences are flagged, normal ones seldom") {
    std::mt19937_64 random(3);
    std::normal_distribution<double> normal;
    std::lognormal_distribution<double> skewed(0, 1.2);
    int of_normal = 0, of_skewed = 0;
    for (int i = 0; i < 500; ++i) {
        std::vector<double> a, b, zero(20, 0.0);
        for (int k = 0; k < 20; ++k) a.push_back(normal(random)), b.push_back(skewed(random));
        of_normal += dtk::differences(zero, {a})[0].skewed;
        of_skewed += dtk::differences(zero, {b})[0].skewed;
    }
    CHECK(of_normal < 50);
    CHECK(of_skewed > 400);
}

TEST_CASE("intervals of simulated studies hold the true difference 95 times in 100") {
    std::mt19937_64 random(1);
    std::normal_distribution<double> normal;
    std::exponential_distribution<double> exponential;
    for (const int n : {3, 5, 10}) {
        const double share = coverage(n, 2000, random, [&](auto& r) { return normal(r); });
        // Differences of two exponentials are symmetric; their squares' are what is skewed.
        const double skewed = coverage(n, 2000, random, [&](auto& r) { return std::pow(exponential(r), 2); });
        INFO(n << " seeds: normal " << share << ", heavy tails " << skewed);
        CHECK(std::abs(share - 0.95) < 0.02);
        CHECK(skewed > 0.9);
        CHECK(skewed <= 1);
    }
}

TEST_CASE(
    "simultaneous intervals hold together, and Holm's p is small no more often than it says where nothing differs") {
    std::mt19937_64 random(2);
    std::normal_distribution<double> normal;
    int together = 0, false_alarms = 0;
    for (int i = 0; i < 2000; ++i) {
        std::vector<double> baseline(5);
        for (auto& b : baseline) b = normal(random);
        std::vector<std::vector<double>> arms(3, std::vector<double>(5));
        for (auto& arm : arms)
            for (auto& value : arm) value = normal(random);
        const auto d = dtk::differences(baseline, arms);
        together += std::all_of(d.begin(), d.end(), [](const auto& one) {
            return one.simultaneous->first <= 0 && 0 <= one.simultaneous->second;
        });
        false_alarms += std::any_of(d.begin(), d.end(), [](const auto& one) { return *one.p_holm < 0.05; });
    }
    CHECK(together >= 0.93 * 2000);
    CHECK(false_alarms <= 0.07 * 2000);
}
