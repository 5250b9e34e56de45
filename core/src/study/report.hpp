#pragma once
#include "study/statistics.hpp"
#include "study/study.hpp"

namespace dtk {

/// One metric of one arm over the seeds.
struct Score {
    std::vector<double> distances;  ///< by seed, less is better: from what true samples give, or the value itself; NaN where a cell failed
    std::vector<double> values;     ///< what was measured
    Estimate distance;              ///< n = 0 where every cell failed
    Difference difference;          ///< to the baseline; n = 0 for itself
    Estimate rank;
    double expected = 0, expected_sd = 0;  ///< of true samples, NaN where nobody knows
};

/// What an arm cost, a mean over its seeds; NaN where that is not known.
struct Cost {
    double images = 0, evaluations = 0, train_seconds = 0, sample_seconds = 0, parameters = 0;
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

/// One sentence for each comparison with the baseline by that metric.
DTK_API std::vector<std::string> verdicts(const Study& study, const Findings& findings, const std::string& metric);

/// The table of the findings in words, for a terminal.
DTK_API std::string table_text(const Study& study, const Findings& findings);

/// Writes report.html, results.json, results.csv and results.tex into the study's folder → the report's path.
DTK_API std::filesystem::path write_report(const Study& study, const Findings& findings, const std::filesystem::path& folder, bool accept_rebuilt);

}  // namespace dtk
