#pragma once
// What a study found: every metric of every arm over the seeds, how the arms differ, and what they cost.
#include <functional>
#include <map>

#include <dtk/better.hpp>

#include "study/run_store.hpp"
#include "study/statistics.hpp"
#include "study/study.hpp"

namespace dtk {

/// One metric of one cell.
struct CellScore {
    enum class State { to_do, failed, undefined, infinite, finite };
    State state = State::to_do;
    double value = NAN;     ///< what was measured
    double compared = NAN;  ///< what counts: the value or, where the nearest is best, how far it is from what true
                            ///< samples give
};

/// One metric of one arm over the seeds.
struct Score {
    std::vector<CellScore> cells;                             ///< by seed, and within it by sampling seed
    std::map<std::string, std::vector<CellScore>> of_stream;  ///< the same of one random stream varied alone
    Values compared;        ///< by seed, a mean over its sampling seeds; the worst there is where a cell has no number
    Estimate mean;          ///< of those; n = 0 where no cell has ended
    Difference difference;  ///< to the baseline; n = 0 for itself
    Estimate rank;
    double expected = NAN, expected_sd = NAN;  ///< of true samples, means over the cells; NaN where nobody knows
    DTK_API std::size_t count(CellScore::State state) const;
    /// Is there a mean that can be shown?
    bool has_mean() const { return mean.n > 0 && std::isfinite(mean.mean); }
};

/// What counts of each cell; NaN where it has no finite value.
DTK_API std::vector<double> compared_cells(const Score& score);

/// Two arms, the second held against the first.
struct ArmPair {
    std::size_t first, second;
    Difference difference;
};

/// One metric of all arms.
struct MetricResults {
    std::string name, note, unit;
    std::optional<Better> better = {};  ///< unset where no cell says so
    bool confirmatory = false;          ///< its comparisons were planned and hold together; others are exploratory
    double smallest = 0;                ///< the difference from which on one matters; 0: nobody said
    Family family;                      ///< what its comparisons are corrected for
    std::vector<Score> arms;
    std::vector<ArmPair> pairs;  ///< all pairs of arms, where the study asks for them

    bool less() const { return better != Better::more; }
    bool nearest() const { return better == Better::nearest; }
    /// Small is good: the number, its sign turned where more is better.
    double shortfall(double compared) const { return less() ? compared : -compared; }
    /// Arms from the best mean to the worst, those without one last.
    DTK_API std::vector<std::size_t> order() const;
};

/// What an arm cost, a mean over its seeds; NaN where that is not known.
struct Cost {
    double images = 0, evaluations = 0, train_seconds = 0, sample_seconds = 0, parameters = 0;
};

/// A study's results, as far as there are any.
struct StudyResults {
    std::map<std::string, MetricResults> metrics;
    std::vector<Cost> costs;
    std::vector<std::pair<std::size_t, std::string>> failures;  ///< cell and reason
    std::size_t missing = 0;                                    ///< cells that have neither failed nor finished
    std::vector<std::string> warnings;
};

/// What a measured value counts for.
DTK_API CellScore score_of(const Measured& measured);

/// By seed, a mean over its sampling seeds, which stand together; the worst there is where a cell failed or has no
/// value. less: are small values good?
DTK_API Values compared_of(const std::vector<CellScore>& cells, std::size_t seeds, bool less);

DTK_API StudyResults results_of(const Study& study, const std::filesystem::path& folder, bool accept_rebuilt);

/// What comes of the rung of a search that these results are of.
DTK_API Rung rung_of(const Study& study, const StudyResults& results);

/// What the difference of an arm to another says. Better or worse only where the simultaneous interval leaves 0 out, or
/// where there is none the exact signed-rank test, adjusted, decides; equivalent where the difference is smaller than
/// what matters (two one-sided tests).
enum class Verdict { better, worse, equivalent, same, inconclusive, one_seed, no_pair };
DTK_API Verdict verdict_of(const Difference& difference, const MetricResults& metric);
/// "better", "not told apart", …
DTK_API const char* name_of(Verdict verdict);

/// Two sentences to quote: how the arms compare with the baseline by that metric, and which has the best mean.
DTK_API std::string conclusion(const Study& study, const StudyResults& results, const std::string& metric);

/// One sentence for each comparison by that metric: with the baseline, or of all pairs.
DTK_API std::vector<std::string> verdicts(const Study& study, const StudyResults& results, const std::string& metric);

/// What so many seeds can and cannot show, in a sentence or two.
DTK_API std::string what_seeds_show(const Study& study, const MetricResults& metric);

/// A mean as a table shows it, or why there is none: "none: infinite in 6 of 8".
DTK_API std::string mean_text(const Score& score, int digits = 5);

}  // namespace dtk
