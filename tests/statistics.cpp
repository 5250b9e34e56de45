// The statistics of studies: against tables and worked examples, and by simulating studies whose truth is known.
#include "study/statistics.hpp"

#include <cmath>
#include <random>

#include "catch.hpp"
#include "study/components.hpp"

namespace {

/// Simulated studies: a few in the default tests, 2,000 of each kind in the slow one.
constexpr int few = 300, many = 2000;

/// What the seeds of an arm gave; NaN where a cell has not run.
dtk::Values values(const std::vector<double>& numbers) {
    dtk::Values all;
    for (const double number : numbers) all.push_back(std::isnan(number) ? std::nullopt : std::optional(number));
    return all;
}

const double missing = std::nan("");

/// A pair of arms over n seeds; what both share by the seed cancels.
template <class Draw>
std::pair<dtk::Values, dtk::Values> pair_of(int n, double truth, std::mt19937_64& random, Draw draw) {
    std::normal_distribution<double> normal;
    dtk::Values baseline, arm;
    for (int seed = 0; seed < n; ++seed) {
        const double common = 5 * normal(random);
        baseline.emplace_back(common);
        arm.emplace_back(common + truth + draw(random));
    }
    return {baseline, arm};
}

/// How often do intervals over n seeds hold the true difference, whose law has mean 0 about it?
template <class Draw>
double coverage(int n, int repetitions, std::mt19937_64& random, Draw draw) {
    int held = 0;
    for (int i = 0; i < repetitions; ++i) {
        const auto [baseline, arm] = pair_of(n, 0.3, random, draw);
        const auto [lo, hi] = dtk::differences(baseline, {arm})[0].estimate.interval.value();
        held += lo <= 0.3 && 0.3 <= hi;
    }
    return static_cast<double>(held) / repetitions;
}

/// So many standard errors of a share of all repetitions.
double margin(double share, int repetitions, double errors = 3) {
    return errors * std::sqrt(share * (1 - share) / repetitions);
}

}  // namespace

TEST_CASE("Student's interval is the table's") {
    // t at 97.5 %: 12.7062 for 1 degree of freedom, 2.7764 for 4, 2.2622 for 9
    const auto two = dtk::estimate(std::vector<double>{1, 3});
    CHECK(two.mean == 2);
    CHECK(two.interval->second - 2 == Approx(12.706205).epsilon(1e-6));
    const auto five = dtk::estimate(std::vector<double>{1, 2, 3, 4, 5});
    CHECK(five.interval->first == Approx(3 - 2.7764451 * std::sqrt(2.5 / 5)).epsilon(1e-7));
    CHECK(dtk::estimate(std::vector<double>{1, 2, 3, 4, 5}, 0.99).interval->first ==
          Approx(3 - 4.6040949 * std::sqrt(0.5)).epsilon(1e-7));
}

TEST_CASE("one value has no interval, and one that is infinite leaves no mean of the others") {
    CHECK_FALSE(dtk::estimate(std::vector<double>{4}).interval);
    const auto e = dtk::estimate(values({1, missing, 3, INFINITY}));
    CHECK(e.n == 3);
    CHECK(std::isinf(e.mean));
    CHECK_FALSE(e.interval);
    CHECK_THROWS_WITH(dtk::estimate(values({missing})), Catch::Contains("no value"));
}

TEST_CASE("what does not depend on the seed has no interval and no p") {
    const auto same = dtk::estimate(std::vector<double>{0.1, 0.1 + 1e-15, 0.1});
    CHECK(same.constant);
    CHECK_FALSE(same.interval);
    const auto apart = dtk::differences(values({0.1, 0.1 + 1e-15, 0.1}), {values({0.2, 0.2, 0.2 - 1e-15})})[0];
    CHECK(apart.exact);
    CHECK(apart.estimate.mean == Approx(0.1));
    CHECK_FALSE(apart.p);
    CHECK_FALSE(apart.simultaneous);
    // Of two that scatter alike the difference is the same by chance: nothing is certain, and no interval has width 0.
    const auto alike = dtk::differences(values({1, 2, 3}), {values({2, 3, 4})})[0];
    CHECK_FALSE(alike.exact);
    CHECK_FALSE(alike.simultaneous);
    CHECK(alike.test == dtk::Test::signed_rank);
    CHECK(*alike.p == 0.25);
}

TEST_CASE("differences are paired by seed") {
    // Gosset 1908: the additional hours of sleep by two drugs, in ten patients; t = 4.0621, p = 0.002833. By signed
    // ranks, one difference being 0, all others positive: 2/2⁹.
    const auto first = values({0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}),
               second = values({1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4});
    const auto d = dtk::differences(first, {second})[0];
    CHECK(d.estimate.n == 10);
    CHECK(d.estimate.mean == Approx(1.58));
    CHECK(d.estimate.interval->first == Approx(0.7001142).epsilon(1e-6));
    CHECK(d.estimate.interval->second == Approx(2.4598858).epsilon(1e-6));
    CHECK(*d.p == Approx(0.00283289).epsilon(1e-5));
    CHECK(*d.p_holm == *d.p);
    CHECK(*d.rank_p == Approx(2 / std::pow(2, 9)));
    // Variances of the two drugs 3.200556 and 4.009, of the difference 1.512889: unpaired over paired.
    CHECK(*d.pairing == Approx((3.2005556 + 4.009) / 1.5128889).epsilon(1e-6));
}

TEST_CASE("a seed that one of the two arms lacks does not count") {
    const auto d = dtk::differences(values({1, 2, 3}),
                                    {values({2, missing, 5}), values({missing, missing, missing}), values({2})});
    CHECK(d[0].estimate.n == 2);
    CHECK(d[0].estimate.mean == 1.5);
    CHECK(d[1].estimate.n == 0);
    CHECK_FALSE(d[1].p);
    CHECK(d[2].estimate.n == 1);
    CHECK_FALSE(d[2].estimate.interval);
}

TEST_CASE("an arm that is infinite in most seeds is worse, by a test that needs no mean") {
    const dtk::Values baseline = values({1, 1.1, 0.9, 1.2, 1, 0.8, 1.1, 0.95});
    auto arm = values({INFINITY, INFINITY, 1.3, INFINITY, INFINITY, INFINITY, 1.4, INFINITY});
    const auto d = dtk::differences(baseline, {arm})[0];
    CHECK(d.infinite == 6);
    CHECK(std::isinf(d.estimate.mean));
    CHECK(d.test == dtk::Test::signed_rank);
    CHECK(*d.p == Approx(2 / 256.0));
    CHECK(d.direction > 0);
    // Where both are infinite neither is better.
    const auto both = dtk::differences(arm, {arm})[0];
    CHECK(both.estimate.mean == 0);
    CHECK(both.infinite == 0);
}

TEST_CASE("the signed-rank test has the exact law's p") {
    // Wilcoxon's table: of n = 10 a sum of 8 or less has two-sided p ≤ 0.05 (exactly 0.048828125), of 9 it has not.
    CHECK(*dtk::signed_rank_p({-1, 2, 3, 4, 5, 6, -7, 8, 9, 10}) == Approx(0.048828125));
    CHECK(*dtk::signed_rank_p({1, -2, 3, 4, 5, 6, -7, 8, 9, 10}) > 0.05);
    CHECK(*dtk::signed_rank_p({1, 1, 1, -1}) == Approx(0.625));  // shared ranks of 2.5
    CHECK_FALSE(dtk::signed_rank_p({0, 0}));
    CHECK(dtk::signed_rank_seeds(0.05) == 6);
    CHECK(dtk::signed_rank_seeds(0.05 / 3) == 7);
}

TEST_CASE("several comparisons are paid for") {
    const dtk::Values zero(6, 0.0);
    const auto moved = [](double by) { return values({by - 0.3, by + 0.1, by + 0.2, by, by - 0.1, by + 0.1}); };
    const auto d = dtk::differences(zero, {moved(0.4), moved(0.1), moved(0.25)});
    for (const auto& one : d) {
        CHECK(one.simultaneous->first < one.estimate.interval->first);
        CHECK(one.simultaneous->second > one.estimate.interval->second);
        CHECK(*one.p_holm >= *one.p);
    }
    CHECK(*d[0].p_holm == Approx(3 * *d[0].p));
    CHECK(*d[2].p_holm == Approx(std::max(3 * *d[0].p, 2 * *d[2].p)));
    CHECK(*d[1].p_holm == Approx(std::max(*d[2].p_holm, *d[1].p)));
    // Holm 1979: no adjusted p is below one before it; 0.010, 0.012 and 0.040 of three are 0.030, 0.030 and 0.040.
    dtk::Difference least, middle, most;
    least.p = 0.010, middle.p = 0.012, most.p = 0.040;
    dtk::adjust({&most, &least, &middle});
    CHECK(*least.p_holm == Approx(0.030));
    CHECK(*middle.p_holm == Approx(0.030));
    CHECK(*most.p_holm == Approx(0.040));
    // Bonferroni for three at 95 %: t at 1 − 0.05/6, 5 degrees of freedom
    CHECK((d[0].simultaneous->second - d[0].simultaneous->first) /
              (d[0].estimate.interval->second - d[0].estimate.interval->first) ==
          Approx(3.5341 / 2.5706).epsilon(1e-4));
}

TEST_CASE("ranks average over seeds, ties share, and more may be better") {
    const std::vector<dtk::Values> arms{values({1, 1, 1}), values({2, 2, 1}), values({3, 0, 5})};
    const auto r = dtk::ranks(arms, true);
    CHECK(r[0].mean == Approx((1 + 2 + 1.5) / 3));
    CHECK(r[1].mean == Approx((2 + 3 + 1.5) / 3));
    CHECK(r[2].mean == Approx((3 + 1 + 3) / 3.0));
    const auto up = dtk::ranks(arms, false);
    for (std::size_t arm = 0; arm < 3; ++arm) CHECK(up[arm].mean == Approx(4 - r[arm].mean));
    CHECK(dtk::ranks({values({1, missing}), values({2, 2})}, true)[0].n == 1);
}

TEST_CASE("visibly skewed differences are flagged, normal ones seldom, and of four nothing is said") {
    std::mt19937_64 random(3);
    std::normal_distribution<double> normal;
    std::lognormal_distribution<double> skewed(0, 1.2);
    int of_normal = 0, of_skewed = 0;
    for (int i = 0; i < 500; ++i) {
        dtk::Values a, b, zero(20, 0.0);
        for (int k = 0; k < 20; ++k) {
            a.emplace_back(normal(random));
            b.emplace_back(skewed(random));
        }
        of_normal += dtk::differences(zero, {a})[0].skewed.value();
        of_skewed += dtk::differences(zero, {b})[0].skewed.value();
    }
    CHECK(of_normal < 50);
    CHECK(of_skewed > 400);
    CHECK_FALSE(dtk::differences(values({0, 0, 0, 0}), {values({1, 1.1, 1.2, 50})})[0].skewed);
}

namespace {
void intervals_hold(int repetitions) {
    std::mt19937_64 random(1);
    std::normal_distribution<double> normal;
    std::student_t_distribution<double> heavy(3);
    std::lognormal_distribution<double> lognormal(0, 1);
    for (const int n : {3, 5, 10, 20}) {
        const double of_normal = coverage(n, repetitions, random, [&](auto& r) { return normal(r); });
        const double of_heavy = coverage(n, repetitions, random, [&](auto& r) { return heavy(r); });
        const double of_skewed =
            coverage(n, repetitions, random, [&](auto& r) { return lognormal(r) - std::exp(0.5); });
        WARN(n << " seeds: normal " << of_normal << ", heavy tails " << of_heavy << ", lognormal " << of_skewed);
        const double chance = repetitions < many ? margin(0.05, repetitions) : 0;
        CHECK(std::abs(of_normal - 0.95) < 0.02 + chance);
        CHECK(of_heavy > 0.93 - chance);
        // What is not held: the report says so where n is too small to see it, and flags it otherwise.
        CHECK(of_skewed > 0.78 - chance);
        CHECK(of_skewed < 0.94 + chance);
    }
}
}  // namespace

TEST_CASE("intervals of simulated studies hold the true difference as often as is said of them") {
    intervals_hold(few);
}

namespace {
void families_hold(int repetitions) {
    std::mt19937_64 random(2);
    std::normal_distribution<double> normal;
    for (const int n : {3, 5}) {
        int together = 0, false_alarms = 0, all_metrics = 0;
        for (int i = 0; i < repetitions; ++i) {
            const auto draw = [&] {
                dtk::Values all;
                for (int seed = 0; seed < n; ++seed) all.emplace_back(normal(random));
                return all;
            };
            const auto baseline = draw();
            std::vector<dtk::Values> arms{draw(), draw(), draw()};
            const auto d = dtk::differences(baseline, arms);
            together += std::all_of(d.begin(), d.end(), [](const auto& one) {
                return one.simultaneous->first <= 0 && 0 <= one.simultaneous->second;
            });
            false_alarms += std::any_of(d.begin(), d.end(), [](const auto& one) { return *one.p_holm < 0.05; });
            // confirm = "all": a second metric that goes along with the first by half, and all six as one family.
            std::vector<dtk::Difference> both;
            for (const auto& arm : arms) {
                auto other = arm, base = baseline;
                for (int seed = 0; seed < n; ++seed) {
                    *other[static_cast<std::size_t>(seed)] += normal(random);
                    *base[static_cast<std::size_t>(seed)] += normal(random);
                }
                both.push_back(dtk::difference(baseline, arm, {0.95, 6}));
                both.push_back(dtk::difference(base, other, {0.95, 6}));
            }
            all_metrics += std::any_of(both.begin(), both.end(), [](const auto& one) {
                return one.simultaneous->first > 0 || one.simultaneous->second < 0;
            });
        }
        WARN(n << " seeds, three comparisons: all hold " << together << ", some Holm p < 0.05 " << false_alarms
               << ", some of six of two metrics " << all_metrics << " of " << repetitions);
        CHECK(together >= (0.95 - margin(0.05, repetitions, 2)) * repetitions);
        CHECK(false_alarms <= (0.05 + margin(0.05, repetitions, 2)) * repetitions);
        CHECK(all_metrics <= (0.05 + margin(0.05, repetitions, 2)) * repetitions);
    }
}
}  // namespace

TEST_CASE("all comparisons together err no more often than is said where nothing differs") { families_hold(few); }

namespace {
void looks_hold(int repetitions) {
    std::mt19937_64 random(4);
    std::normal_distribution<double> normal;
    const std::size_t first = 5, limit = 40;
    const auto all = dtk::looks(first, limit);
    CHECK(all.front() == first);
    CHECK(all.back() == limit);
    double spent = 0;
    for (const auto n : all) spent += dtk::error_of_look(n, first, limit, 0.05);
    CHECK(spent == Approx(0.05));
    CHECK(dtk::error_of_look(first + 1, first, limit, 0.05) == 0);
    // By the square of the share of the seeds: (5/40)² of it first, and at the next look what is new.
    CHECK(dtk::error_of_look(5, first, limit, 0.05) == Approx(0.05 * 25 / 1600));
    CHECK(dtk::error_of_look(7, first, limit, 0.05) == Approx(0.05 * (49 - 25) / 1600));

    int wrong = 0, careless = 0, found = 0;
    double seeds = 0;
    for (int i = 0; i < repetitions; ++i) {
        dtk::Values zero, null, moved;
        const auto decided = [&](const dtk::Values& arm, double error) {
            const auto d = dtk::difference(zero, arm, {1 - error, 1});
            return d.simultaneous->first > 0 || d.simultaneous->second < 0;
        };
        bool stopped = false, stopped_carelessly = false, stopped_rightly = false;
        for (const auto n : all) {
            while (zero.size() < n) {
                zero.emplace_back(0);
                null.emplace_back(normal(random));
                moved.emplace_back(1 + normal(random));
            }
            const double error = dtk::error_of_look(n, first, limit, 0.05);
            stopped = stopped || decided(null, error);
            stopped_carelessly = stopped_carelessly || decided(null, 0.05);
            if (!stopped_rightly && decided(moved, error)) {
                stopped_rightly = true;
                seeds += static_cast<double>(n);
            }
        }
        wrong += stopped;
        careless += stopped_carelessly;
        found += stopped_rightly;
    }
    WARN("sequential: wrong " << wrong << ", with a fixed interval at each look " << careless << ", found " << found
                              << " of " << repetitions << " after " << seeds / found << " seeds on average");
    CHECK(wrong <= (0.05 + margin(0.05, repetitions)) * repetitions);
    CHECK(careless > 0.1 * repetitions);
    CHECK(found > 0.99 * repetitions);
    CHECK(seeds / found < 20);
}
}  // namespace

TEST_CASE("looking again and again errs no more often than is said") { looks_hold(few); }

namespace {
/// Three arms that differ by nothing, with seeds added as `dtk run` does until every verdict is there.
void stopping_holds(int repetitions) {
    std::mt19937_64 random(10);
    std::normal_distribution<double> normal;
    const std::size_t first = 3, limit = 24, arms = 3;
    int wrong = 0, equivalent = 0;
    for (int i = 0; i < repetitions; ++i) {
        dtk::MetricResults metric;
        metric.better = dtk::Better::less;
        metric.smallest = i % 2 ? 1.5 : 0;  // with it, stopping for equivalence is one more temptation
        dtk::Values baseline;
        std::vector<dtk::Values> values(arms);
        bool any = false, same = false;
        for (const auto n : dtk::looks(first, limit)) {
            while (baseline.size() < n) {
                baseline.emplace_back(normal(random));
                for (auto& arm : values) arm.emplace_back(normal(random));
            }
            metric.family = {1 - dtk::error_of_look(n, first, limit, 0.05), arms};
            bool open = false;
            any = same = false;
            for (const auto& arm : values) {
                const auto verdict = dtk::verdict_of(dtk::difference(baseline, arm, metric.family), metric);
                any = any || verdict == dtk::Verdict::better || verdict == dtk::Verdict::worse;
                same = same || verdict == dtk::Verdict::equivalent;
                open = open || verdict == dtk::Verdict::inconclusive;
            }
            if (!open) break;
        }
        wrong += any;
        equivalent += same;
    }
    WARN("three comparisons until all are decided: some wrong " << wrong << ", some equivalent " << equivalent << " of "
                                                                << repetitions);
    CHECK(wrong <= (0.05 + margin(0.05, repetitions, 2)) * repetitions);
    CHECK(equivalent > 0.2 * repetitions);
}
}  // namespace

TEST_CASE("three comparisons that are followed until all are decided err no more often together") {
    stopping_holds(few);
}

namespace {
void power_holds(int repetitions) {
    // Cohen, "Statistical Power Analysis", 1988: d = 0.5 at 5 % two-sided takes 34 pairs for 80 %.
    CHECK(dtk::seeds_needed(0.5, 1, 0.05) == 34u);
    CHECK(dtk::power(0, 1, 8, 0.05) == Approx(0.05).margin(1e-4));
    CHECK(dtk::power(1000, 1, 2, 0.05) == Approx(1).margin(0.01));
    CHECK_FALSE(dtk::seeds_needed(1e-6, 1, 0.05));
    std::mt19937_64 random(5);
    std::normal_distribution<double> normal;
    for (const std::size_t n : {3u, 5u, 12u}) {
        const double truth = dtk::detectable_difference(1, n, 0.05);
        int found = 0, covered = 0;
        for (int i = 0; i < repetitions; ++i) {
            const auto [baseline, arm] =
                pair_of(static_cast<int>(n), truth, random, [&](auto& r) { return normal(r); });
            const auto d = dtk::differences(baseline, {arm})[0];
            found += d.simultaneous->first > 0 || d.simultaneous->second < 0;
            // Of a pilot: is the true number of seeds between those that its spread allows?
            if (i % 4 != 0) continue;
            const auto needed = dtk::seeds_needed_by(d, 0.5, 0.05, 0.95);
            covered += needed.least.value_or(2) <= 34 && (!needed.most || *needed.most >= 34);
        }
        WARN(n << " seeds: found " << found << " where 0.8 was said; pilot's interval of seeds holds the truth "
               << covered << " of " << repetitions / 4);
        CHECK(std::abs(static_cast<double>(found) / repetitions - 0.8) < 0.05 + (repetitions < many ? 0.04 : 0));
        // Whole numbers of seeds make it a little wider than it has to be.
        CHECK(covered >= (0.95 - margin(0.05, repetitions / 4, 2)) * repetitions / 4);
    }
}
}  // namespace

TEST_CASE("power is what simulation finds, and the seeds that it asks for are enough") { power_holds(few); }

namespace {
void equivalence_holds(int repetitions) {
    std::mt19937_64 random(6);
    std::normal_distribution<double> normal;
    dtk::MetricResults metric;
    metric.better = dtk::Better::less;
    metric.smallest = 0.5;
    int wrong = 0, right = 0;
    for (int i = 0; i < repetitions; ++i) {
        const auto verdict = [&](double truth) {
            const auto [baseline, arm] = pair_of(12, truth, random, [&](auto& r) { return 0.5 * normal(r); });
            return dtk::verdict_of(dtk::differences(baseline, {arm})[0], metric);
        };
        wrong += verdict(0.5) == dtk::Verdict::equivalent;
        right += verdict(0) == dtk::Verdict::equivalent;
    }
    WARN("equivalence: wrong " << wrong << ", right " << right << " of " << repetitions);
    CHECK(wrong <= (0.05 + margin(0.05, repetitions)) * repetitions);
    CHECK(right > 0.8 * repetitions);
}
}  // namespace

TEST_CASE("what is equivalent by two one-sided tests seldom is not") { equivalence_holds(few); }

TEST_CASE("equivalent is what is near on both sides") {
    for (const auto better : {dtk::Better::less, dtk::Better::more}) {
        dtk::MetricResults metric;
        metric.better = better;
        metric.smallest = 0.5;
        const auto verdict = [&](double by) {
            return dtk::verdict_of(
                dtk::difference(values({1, 2, 3, 4}), values({1.1 + by, 1.9 + by, 3 + by, 4 + by}), {0.95, 1}), metric);
        };
        CHECK(verdict(0) == dtk::Verdict::equivalent);
        const bool less = better == dtk::Better::less;
        CHECK(verdict(2) == (less ? dtk::Verdict::worse : dtk::Verdict::better));
        CHECK(verdict(-2) == (less ? dtk::Verdict::better : dtk::Verdict::worse));
    }
}

namespace {
void components_hold(int repetitions) {
    std::mt19937_64 random(7);
    std::normal_distribution<double> normal;
    for (const auto& [of_training, of_drawing, of_rest] :
         {std::tuple{1.0, 0.5, 0.7}, std::tuple{0.3, 1.0, 0.3}, std::tuple{1.0, 0.0, 0.3}}) {
        const std::size_t trainings = 8, draws = 4;
        int training = 0, drawing = 0, rest = 0;
        double mean = 0;
        for (int i = 0; i < repetitions; ++i) {
            std::vector<double> columns(draws), cells;
            for (auto& column : columns) column = of_drawing * normal(random);
            for (std::size_t t = 0; t < trainings; ++t) {
                const double row = of_training * normal(random);
                for (const double column : columns) cells.push_back(3 + row + column + of_rest * normal(random));
            }
            const auto found = dtk::components(cells, trainings).value();
            const auto holds = [](const dtk::VarianceComponent& c, double sd) {
                return c.interval.first <= sd * sd && sd * sd <= c.interval.second;
            };
            training += holds(found.training, of_training);
            drawing += holds(found.drawing, of_drawing);
            rest += holds(found.rest, of_rest);
            mean += found.training.variance / repetitions;
        }
        WARN("components: training " << training << ", drawing " << drawing << ", rest " << rest << " of "
                                     << repetitions << ", mean of training " << mean);
        for (const int held : {training, drawing, rest})
            CHECK(held >= (0.95 - margin(0.05, repetitions)) * repetitions);
        CHECK(mean == Approx(of_training * of_training).epsilon(0.1));
    }
    // Two trainings, two draws, by hand: rows have the means 2 and 5, columns 3 and 4, and what is left is ±½.
    const auto by_hand = dtk::components({1, 3, 5, 5}, 2).value();
    CHECK(by_hand.rest.variance == Approx(1));
    CHECK(by_hand.training.variance == Approx((9 - 1) / 2.0));
    CHECK(by_hand.drawing.variance == Approx(0));
    CHECK_FALSE(dtk::components({1, 2, 3}, 3));
    CHECK_FALSE(dtk::components({1, 2, INFINITY, 4}, 2));
}
}  // namespace

TEST_CASE("the scatter of training and of drawing is found within its intervals") { components_hold(few); }

namespace {
void streams_hold(int repetitions) {
    std::mt19937_64 random(9);
    std::normal_distribution<double> normal;
    dtk::Study study;
    study.vary = {"init", "noise"};
    study.one_at_a_time = true;
    study.arms.resize(2);
    for (std::int64_t seed = 0; seed < 6; ++seed) study.seeds.push_back(seed);
    const double init = 1, noise = 0.5, own = 0.2;  // standard deviations; the last is that of an arm alone
    int all = 0, of_init = 0, of_noise = 0, of_difference = 0;
    double pairing = 0;
    for (int i = 0; i < repetitions; ++i) {
        dtk::MetricResults metric;
        metric.arms.resize(2);
        for (const std::string stream : {"", "init", "noise"})
            for (std::size_t seed = 0; seed < study.seeds.size(); ++seed) {
                const double common =
                    (stream != "noise" ? init * normal(random) : 0) + (stream != "init" ? noise * normal(random) : 0);
                for (auto& arm : metric.arms) {
                    const double value = 3 + common + own * normal(random);
                    (stream.empty() ? arm.cells : arm.of_stream[stream])
                        .push_back({dtk::CellScore::State::finite, value, value});
                }
            }
        const auto scatter = dtk::scatter_by_stream(study, metric, 0);
        const auto difference = dtk::scatter_by_stream(study, metric, 1, 0);
        REQUIRE(scatter.size() == 3);
        const auto holds = [](const dtk::StreamScatter& one, double variance) {
            return one.training.interval.first <= variance && variance <= one.training.interval.second;
        };
        all += holds(scatter[0], init * init + noise * noise + own * own);
        of_init += holds(scatter[1], init * init + own * own);
        of_noise += holds(scatter[2], noise * noise + own * own);
        of_difference += holds(difference[1], 2 * own * own);
        pairing += std::log(*difference[0].pairing) / repetitions;
    }
    WARN("streams: all " << all << ", init " << of_init << ", noise " << of_noise << ", of a difference "
                         << of_difference << " of " << repetitions << "; pairing " << std::exp(pairing));
    for (const int held : {all, of_init, of_noise, of_difference})
        CHECK(std::abs(held - 0.95 * repetitions) < margin(0.05, repetitions) * repetitions);
    CHECK(std::exp(pairing) == Approx((init * init + noise * noise + own * own) / (own * own)).epsilon(0.1));
}
}  // namespace

TEST_CASE("what each random stream makes of the scatter is found within its interval") { streams_hold(few); }

namespace {
void best_arm_holds(int repetitions) {
    std::mt19937_64 random(8);
    std::normal_distribution<double> normal;
    int kept = 0, few = 0;
    for (int i = 0; i < repetitions; ++i) {
        dtk::MetricResults metric;
        metric.better = dtk::Better::more;
        for (const double truth : {0.0, 0.5, 3.0, 3.1}) {
            auto& arm = metric.arms.emplace_back();
            for (int seed = 0; seed < 6; ++seed) arm.compared.emplace_back(truth + normal(random));
            arm.mean = dtk::estimate(arm.compared);
        }
        const auto best = dtk::best_arms(metric, 0.95);
        kept += std::find(best.begin(), best.end(), 3u) != best.end();
        few += best.size() <= 2;
    }
    WARN("the best arm was kept " << kept << " of " << repetitions << "; at most two were left " << few);
    CHECK(kept >= (0.95 - margin(0.05, repetitions)) * repetitions);
    CHECK(few > 0.3 * repetitions);
}
}  // namespace

TEST_CASE("the best arm is among those that may be it") { best_arm_holds(few); }

TEST_CASE("an arm may be the best unless another beats it one-sided, which is paid for by how many there are") {
    // Five differences of standard deviation 1: Student's 2.1318/√5 at 5 %, and 2.7764/√5 at half of it.
    const auto kept = [](double behind, std::size_t others) {
        dtk::MetricResults metric;
        metric.better = dtk::Better::less;
        const double spread = std::sqrt(0.4);
        for (std::size_t arm = 0; arm <= others; ++arm) {
            auto& score = metric.arms.emplace_back();
            for (int seed = 0; seed < 5; ++seed)
                score.compared.emplace_back(arm == 0 ? 3 + 7 * seed + behind + spread * (seed - 2) : 3 + 7 * seed);
            score.mean = dtk::estimate(score.compared);
        }
        const auto best = dtk::best_arms(metric, 0.95);
        return std::find(best.begin(), best.end(), 0u) != best.end();
    };
    CHECK(kept(0.94, 1));
    CHECK_FALSE(kept(0.97, 1));
    CHECK(kept(1.22, 2));
    CHECK_FALSE(kept(1.26, 2));
}

namespace {
/// Of eight arms that differ by nothing from the baseline the best is taken, and confirmed with seeds of its own.
void search_holds(int repetitions) {
    std::mt19937_64 random(11);
    std::normal_distribution<double> normal;
    int wrong = 0, flattered = 0;
    double bias = 0;
    for (int i = 0; i < repetitions; ++i) {
        const auto draw = [&](int n) {
            dtk::Values all;
            for (int seed = 0; seed < n; ++seed) all.emplace_back(normal(random));
            return all;
        };
        dtk::Study study;
        study.metrics = {"error"};
        study.search = dtk::Search{.rungs = 2, .eta = 2, .seeds = {0, 1, 2}, .fresh = {3, 4, 5, 6, 7}, .steps = 100};
        dtk::StudyResults results;
        auto& metric = results.metrics["error"];
        metric.better = dtk::Better::less;
        for (int arm = 0; arm < 9; ++arm) {
            study.arms.push_back({"arm " + std::to_string(arm), {}});
            auto& score = metric.arms.emplace_back();
            score.compared = draw(3);
            score.mean = dtk::estimate(score.compared);
        }
        study.search->done.push_back({});  // the last rung: it keeps one
        const auto winner = dtk::rung_of(study, results).kept;
        REQUIRE(winner.size() == 1);
        const auto at = static_cast<std::size_t>(winner[0].back() - '0');
        REQUIRE(at > 0);
        const auto better = [&](const dtk::Values& baseline, const dtk::Values& arm) {
            return dtk::verdict_of(dtk::difference(baseline, arm, {0.95, 1}), metric) == dtk::Verdict::better;
        };
        flattered += better(metric.arms[0].compared, metric.arms[at].compared);
        bias += metric.arms[at].mean.mean / repetitions;
        wrong += better(draw(5), draw(5));
    }
    WARN("search: the winner of eight is called better by the seeds that chose it "
         << flattered << " times, by fresh ones " << wrong << " of " << repetitions << "; its mean is off by " << bias);
    CHECK(wrong <= (0.025 + margin(0.025, repetitions, 2)) * repetitions);
    CHECK(flattered > 2 * wrong);
    CHECK(bias < -0.5);
}
}  // namespace

TEST_CASE("the winner of a search is flattered by the seeds that chose it, and not by fresh ones") {
    search_holds(few);
}

TEST_CASE("the rungs of a search take more steps and fewer arms each time") {
    dtk::Search search{.rungs = 3, .eta = 3, .seeds = {0, 1}, .fresh = {2}, .steps = 900};
    CHECK(search.steps_of(0) == 100);
    CHECK(search.steps_of(1) == 300);
    CHECK(search.steps_of(2) == 900);
    CHECK(search.kept_of(9) == 3);
    CHECK(search.kept_of(10) == 4);
    for (int arm = 0; arm < 10; ++arm) search.arms.push_back(std::to_string(arm));
    // Nine arms and the baseline: 10·100 + 4·200 + 2·600 of 10·900.
    CHECK(search.text() ==
          "10 arms for 100 steps, then 4 arms for 300 steps, then 2 arms for 900 steps; the winner and "
          "the baseline with 1 fresh seed. The search takes 33 % of the steps that all arms would.");
}

TEST_CASE("axes have effects that are matched over the others, and interactions") {
    dtk::Study study;
    study.axes = {{"schedule.use", {"linear", "cosine"}}, {"sampler.steps", {"10", "50"}}};
    study.seeds = {0, 1, 2};
    dtk::MetricResults metric;
    metric.better = dtk::Better::less;
    const double noise[4][3] = {{0, 0.01, -0.01}, {0.01, 0, 0}, {-0.01, 0.02, 0}, {0, 0, 0.01}};
    for (std::size_t schedule = 0; schedule < 2; ++schedule)
        for (std::size_t steps = 0; steps < 2; ++steps) {
            study.arms.push_back({"", {}, {schedule, steps}});
            auto& arm = metric.arms.emplace_back();
            for (int seed = 0; seed < 3; ++seed)
                arm.compared.emplace_back(10 + seed + 2.0 * static_cast<double>(schedule) -
                                          1.0 * static_cast<double>(steps) + (schedule && steps ? 0.5 : 0) +
                                          noise[2 * schedule + steps][seed]);
        }
    const auto found = dtk::factorial_of(study, metric);
    REQUIRE(found.effects.size() == 2);
    CHECK(found.effects[0].value == "cosine");
    CHECK(found.effects[0].matched == 2);
    CHECK(found.effects[0].difference.estimate.mean == Approx(2.25).margin(0.02));
    CHECK(found.effects[1].difference.estimate.mean == Approx(-0.75).margin(0.02));
    REQUIRE(found.interactions.size() == 1);
    CHECK(found.interactions[0].difference.estimate.mean == Approx(0.5).margin(0.02));
    CHECK(dtk::verdict_of(found.interactions[0].difference, metric) == dtk::Verdict::worse);
}

TEST_CASE("the same of 2,000 simulated studies each", "[slow]") {
    intervals_hold(many);
    families_hold(many);
    looks_hold(many);
    stopping_holds(many);
    power_holds(many);
    equivalence_holds(many);
    components_hold(many);
    streams_hold(many);
    best_arm_holds(many);
    search_holds(many);
}
