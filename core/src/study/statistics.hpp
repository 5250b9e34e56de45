#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// A mean of n values that scatter, with Student's interval for it; without one where n = 1.
struct Estimate {
    std::size_t n = 0;
    double mean = 0;
    std::optional<std::pair<double, double>> interval = {};
};

/// How far an arm lies from the baseline, seed by seed.
struct Difference {
    Estimate estimate;  ///< of arm − baseline, over the seeds both have, its interval at the level asked for
    std::optional<std::pair<double, double>> simultaneous =
        {};  ///< Bonferroni: all comparisons hold together at that level
    std::optional<double> p = {},
                          p_holm = {};  ///< two-sided, alone and adjusted for the number of comparisons (Holm 1979)
    bool skewed = false;                ///< the differences are visibly skewed, and the interval is then too hopeful
};

/// level: 0.95 for intervals that hold 95 times in 100. Values that are not finite do not count. Errors: Error where
/// none is left.
DTK_API Estimate estimate(const std::vector<double>& values, double level = 0.95);

/// Each arm against the baseline, paired by position; a pair with a value that is not finite does not count. An arm
/// without a pair gets n = 0.
DTK_API std::vector<Difference> differences(const std::vector<double>& baseline,
                                            const std::vector<std::vector<double>>& arms, double level = 0.95);

/// The mean rank of each arm over the seeds that all arms have (1: the least value; equal values share), with its
/// interval.
DTK_API std::vector<Estimate> ranks(const std::vector<std::vector<double>>& arms, double level = 0.95);

}  // namespace dtk
