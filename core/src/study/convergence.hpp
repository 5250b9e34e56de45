#pragma once
// How quality goes with cost: which arms differ in steps alone, how fast the error falls, what is worth its cost.
#include "study/results.hpp"

namespace dtk {

/// Arms that are one but for some of their settings.
struct Group {
    std::string name;  ///< what they have in common
    std::vector<std::size_t> arms;
};

/// What measures an arm with the first of its seeds.
DTK_API const Task& task_of(const Study& study, std::size_t arm);

/// Arms that have one key, in the order of their first; each arm stands in one group.
DTK_API std::vector<Group> groups_by(const Study& study, const std::function<std::string(std::size_t arm)>& key);

/// Arms that differ in nothing but sampler.steps, of several numbers of steps or not.
DTK_API std::vector<Group> groups_by_steps(const Study& study);

/// Arms that share their trainings, one for each seed.
DTK_API std::vector<Group> groups_by_training(const Study& study);

/// How fast a metric falls with the number of network evaluations: the exponent k of its value ∝ evaluations^k.
struct Slope {
    std::vector<double> of_seeds;  ///< least squares in both logarithms; NaN where a seed has fewer than two points
    Estimate estimate;             ///< n = 0 where there is none
    double standard_error = NAN;   ///< over the seeds; NaN where n < 2
    std::vector<std::size_t> left_out;  ///< arms that true samples could be (within two of their standard deviations)
};
DTK_API Slope slope_of(const Group& group, const StudyResults& results, const std::string& metric, double level);

/// The places where nothing costs less and is better, by rising cost; shortfall: less is better. Values that are not
/// finite are on no front.
DTK_API std::vector<std::size_t> pareto_front(const std::vector<double>& cost, const std::vector<double>& shortfall);

}  // namespace dtk
