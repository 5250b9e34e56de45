#pragma once
// The statistics of paired comparisons: means and their intervals, differences seed by seed, corrections for several
// comparisons, power, and what is said where a mean does not exist.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

using Interval = std::pair<double, double>;

/// What the cells of an arm gave, by seed: a number, which may be infinite; unset where a cell has not run. A cell that
/// failed or whose value is undefined stands there as the worst there is, an infinity.
using Values = std::vector<std::optional<double>>;

/// A mean of n values that scatter, with Student's interval for it.
struct Estimate {
    std::size_t n = 0;
    double mean = 0;  ///< infinite, or not a number, where some of the values are infinite
    double sd = 0;    ///< of the values; 0 where n < 2 or the mean does not exist
    std::optional<Interval> interval =
        {};                 ///< unset where n < 2, the mean does not exist, or the values do not scatter
    bool constant = false;  ///< two values or more, all the same but for rounding
};

/// How an arm's difference to another was tested.
enum class Test {
    none,         ///< fewer than two pairs, or nothing that scatters
    student,      ///< Student's t of the paired differences
    signed_rank,  ///< Wilcoxon's, exact: where a difference is infinite, or none scatters
};

/// How far an arm lies from another, seed by seed.
struct Difference {
    Estimate estimate;  ///< of arm − other, over the seeds both have, its interval at the level
    std::optional<Interval> simultaneous = {};  ///< Bonferroni: all comparisons hold together at that level
    std::optional<Interval> equivalence = {};   ///< the same for two one-sided tests: at twice the error
    Test test = Test::none;
    std::optional<double> p = {}, p_holm = {};  ///< two-sided, alone and adjusted for the number of comparisons (Holm
                                                ///< 1979)
    std::optional<double> rank_p = {};          ///< of the exact signed-rank test, which needs no normality
    double direction = 0;                       ///< < 0 where most of the differences are negative, by their ranks
    std::size_t infinite = 0;                   ///< pairs whose difference is infinite
    bool exact = false;  ///< neither of the two depends on the seed, so that nothing is estimated
    std::optional<bool> skewed =
        {};  ///< the differences are visibly skewed; unset for n < 5, where that cannot be seen
    std::optional<double> detectable = {};  ///< the least true difference that so many seeds would find 8 times in 10
    std::optional<double> pairing = {};     ///< variance of an unpaired difference over that of the paired one
};

/// Comparisons that hold together at a level, and how many there are.
struct Family {
    double level = 0.95;
    std::size_t comparisons = 1;
    /// What each may err, two-sided, so that all hold together.
    double error() const { return (1 - level) / static_cast<double>(std::max<std::size_t>(comparisons, 1)); }
};

/// Errors: Error where there is no value.
DTK_API Estimate estimate(const Values& values, double level = 0.95);
DTK_API Estimate estimate(const std::vector<double>& values, double level = 0.95);

/// One arm against another, paired by position. Without a pair n = 0. Its p is not adjusted.
DTK_API Difference difference(const Values& other, const Values& arm, const Family& family);

/// Holm's adjustment of those that have a p, as one family.
DTK_API void adjust(const std::vector<Difference*>& family);

/// Each arm against the baseline, as one family.
DTK_API std::vector<Difference> differences(const Values& baseline, const std::vector<Values>& arms,
                                            double level = 0.95);

/// The exact two-sided p of Wilcoxon's signed-rank test (1945) of differences; those of 0 do not count, equal ones
/// share their ranks, infinite ones have the largest. Unset where none is left.
DTK_API std::optional<double> signed_rank_p(const std::vector<double>& differences);

/// The fewest pairs with which that test can ever have a p ≤ error.
DTK_API std::size_t signed_rank_seeds(double error);

/// The mean rank of each arm over the seeds that all arms have (1: the best; equal values share), with its interval.
/// less: are small values good?
DTK_API std::vector<Estimate> ranks(const std::vector<Values>& arms, bool less, double level = 0.95);

// What a number of seeds can show.

/// The chance that Student's two-sided test of n pairs with that error finds a true difference, the pairs' differences
/// having that standard deviation. n ≥ 2.
DTK_API double power(double difference, double sd, std::size_t n, double error);

/// The least difference that is found with that chance.
DTK_API double detectable_difference(double sd, std::size_t n, double error, double chance = 0.8);

/// The fewest pairs that find the difference with that chance; unset where even 100,000 do not.
DTK_API std::optional<std::size_t> seeds_needed(double difference, double sd, double error, double chance = 0.8);

/// After how many seeds a study that goes on until it is decided is looked at: half as many more each time, `limit` at
/// the end.
DTK_API std::vector<std::size_t> looks(std::size_t first, std::size_t limit);

/// What the look after n seeds may err, so that all looks together err no more than `error`: it is spent as the square
/// of the share of the seeds (Lan & DeMets 1983; Kim & DeMets 1987), and no look borrows from another, which holds
/// however they depend on each other. 0 where nobody looks after n.
DTK_API double error_of_look(std::size_t n, std::size_t first, std::size_t limit, double error);

/// Between what the standard deviation lies of which n values gave that one (χ²; normal values). n ≥ 2.
DTK_API Interval sd_interval(double sd, std::size_t n, double level = 0.95);

}  // namespace dtk
