#pragma once
#include "study/statistics.hpp"
#include "study/study.hpp"

namespace dtk {

/// One metric of one arm over the seeds.
struct Score {
    std::vector<double> distances;  ///< by seed, less is better: from what true samples give, or the value itself; NaN
                                    ///< where a cell failed
    std::vector<double> values;     ///< what was measured
    Estimate distance;              ///< n = 0 where every cell failed
    Difference difference;          ///< to the baseline; n = 0 for itself
    Estimate rank;
    double expected = 0, expected_sd = 0;  ///< of true samples, over the seeds; NaN where nobody knows
    bool two_sided = false;                ///< the distance is from `expected`
};

/// What an arm cost, a mean over its seeds; NaN where that is not known.
struct Cost {
    double images = 0, evaluations = 0, train_seconds = 0, sample_seconds = 0, parameters = 0;
};

/// Arms that are one but for some of their settings.
struct Group {
    std::string name;  ///< what they have in common
    std::vector<std::size_t> arms;
};

/// A study's results, as far as there are any.
struct Findings {
    std::map<std::string, std::vector<Score>> scores;  ///< metric → one for each arm
    std::map<std::string, std::string> notes;          ///< metric → what it is
    std::vector<Cost> costs;
    std::vector<std::pair<std::size_t, std::string>> failures;  ///< cell and reason
    std::size_t missing = 0;                                    ///< cells that have neither failed nor finished
    std::vector<std::string> warnings;
};

DTK_API Findings findings_of(const Study& study, const std::filesystem::path& folder, bool accept_rebuilt);

/// What the differences to the baseline say. An arm is better or worse only where the simultaneous interval leaves 0
/// out.
enum class Told { better, worse, not_apart, one_seed, no_pair };
DTK_API Told told(const Difference& difference);

/// Two sentences to quote: how the arms compare with the baseline by that metric, and which has the least mean.
DTK_API std::string conclusion(const Study& study, const Findings& findings, const std::string& metric);

/// One sentence for each comparison with the baseline by that metric.
DTK_API std::vector<std::string> verdicts(const Study& study, const Findings& findings, const std::string& metric);

/// What measures an arm with the first of its seeds.
DTK_API const Task& task_of(const Study& study, std::size_t arm);

/// Arms that have one key, in the order of their first; each arm stands in one group.
DTK_API std::vector<Group> groups_by(const Study& study, const std::function<std::string(std::size_t arm)>& key);

/// Arms that differ in nothing but sampler.steps, of several numbers of steps or not.
DTK_API std::vector<Group> groups_by_steps(const Study& study);

/// Arms that share their trainings, one for each seed.
DTK_API std::vector<Group> groups_by_training(const Study& study);

/// How fast a metric falls with the number of network evaluations: the exponent k of distance ∝ evaluations^k.
struct Slope {
    std::vector<double> of_seeds;  ///< least squares in both logarithms; NaN where a seed has fewer than two points
    Estimate estimate;             ///< n = 0 where there is none
    double standard_error = 0;     ///< over the seeds; NaN where n < 2
    std::vector<std::size_t> left_out;  ///< arms that true samples could be (within two of their standard deviations)
};
DTK_API Slope slope_of(const Group& group, const Findings& findings, const std::string& metric, double level);

/// The places where nothing costs less and is better, by rising cost. Values that are not finite are on no front.
DTK_API std::vector<std::size_t> pareto_front(const std::vector<double>& cost, const std::vector<double>& distance);

/// The table of the findings in words, for a terminal.
DTK_API std::string table_text(const Study& study, const Findings& findings);

/// The findings for other programs. Times are not in it: the same study gives the same text.
DTK_API nlohmann::json results_json(const Study& study, const Findings& findings);
DTK_API std::string results_csv(const Study& study, const Findings& findings);
/// A table for LaTeX's booktabs.
DTK_API std::string results_tex(const Study& study, const Findings& findings);

/// Writes report.html, results.json, results.csv and results.tex into the study's folder → the report's path.
DTK_API std::filesystem::path write_report(const Study& study, const Findings& findings,
                                           const std::filesystem::path& folder, bool accept_rebuilt);

}  // namespace dtk
