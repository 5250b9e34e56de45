#pragma once
// Where the scatter of a study comes from: training or drawing; and what each axis is worth.
#include "study/results.hpp"

namespace dtk {

/// A variance that was estimated, and between what it lies.
struct VarianceComponent {
    double variance = 0;  ///< never below 0
    Interval interval;
};

/// The variance of values y_ij = μ + T_i + S_j + e_ij over trainings i and draws j from each, both at random, once for
/// each pair.
struct Components {
    std::size_t trainings = 0, draws = 0;
    VarianceComponent training;  ///< of T, what another training changes
    VarianceComponent drawing;   ///< of S, what another draw changes alike for all trainings
    VarianceComponent rest;      ///< of e, what it changes for one training alone
};

/// cells: by training, and within it by draw. Unset where there are fewer than two of either, or a cell has no finite
/// value. The interval of `rest` is exact for normal values; those of the others are Williams' (1962), which err to the
/// safe side.
DTK_API std::optional<Components> components(const std::vector<double>& cells, std::size_t trainings,
                                             double level = 0.95);

/// The scatter over trainings of which only some random streams followed the seed.
struct StreamScatter {
    std::string stream;  ///< "init", "data", …; empty: all that the study varies, together
    std::size_t trainings = 0;
    VarianceComponent training;          ///< what another training changes; of what it is drawn with, a mean
    std::optional<double> pairing = {};  ///< of a difference: variance of an unpaired one over that of the paired one
};

/// Of an arm or, with `against`, of its difference to that one: all streams together, then each alone. Left out is what
/// fewer than two trainings, or a cell without a number, do not tell.
DTK_API std::vector<StreamScatter> scatter_by_stream(const Study& study, const MetricResults& metric, std::size_t arm,
                                                     std::optional<std::size_t> against = {});

/// What one value of an axis is worth beside another, all else equal.
struct AxisEffect {
    std::string axis, value, against;
    std::size_t matched = 0;  ///< pairs of arms that differ in this axis alone
    Difference difference;    ///< seed by seed, a mean over those pairs
};

/// How far the worth of one axis' value depends on that of another: the difference of differences.
struct Interaction {
    std::string first, second;  ///< "schedule.use: cosine against linear"
    std::size_t matched = 0;    ///< foursomes of arms
    Difference difference;
};

struct Factorial {
    std::vector<AxisEffect> effects;
    std::vector<Interaction> interactions;
};

/// Of a study of two axes or more; empty for others. Every value is held against the baseline's of its axis. Effects
/// and interactions are two families, each corrected for its number.
DTK_API Factorial factorial_of(const Study& study, const MetricResults& metric);

/// The arms that may be the best: those that no other is better than at that level, corrected for the number of arms.
/// The best one is among them that often.
DTK_API std::vector<std::size_t> best_arms(const MetricResults& metric, double level);

/// What a pilot says of the seeds that a difference takes.
struct SeedsNeeded {
    std::optional<std::size_t> likely, least, most;  ///< by the pilot's spread, and by the ends of its interval; unset:
                                                     ///< more than can be had
};
DTK_API SeedsNeeded seeds_needed_by(const Difference& pilot, double difference, double error, double level,
                                    double chance = 0.8);

}  // namespace dtk
