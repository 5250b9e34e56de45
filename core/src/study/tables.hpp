#pragma once
// A study's results as tables: for a terminal, as JSON, CSV and LaTeX. Times are not in them, so that the same study
// gives the same text.
#include "study/results.hpp"

namespace dtk {

/// "less is better", and from what where the nearest is best.
DTK_API std::string direction_text(const MetricResults& metric);

DTK_API std::string table_text(const Study& study, const StudyResults& results);
/// One arm's numbers; those of a baseline without a difference.
DTK_API nlohmann::json score_json(const Score& score, const MetricResults& metric, bool baseline);
DTK_API nlohmann::json results_json(const Study& study, const StudyResults& results);
/// A line for each cell and metric.
DTK_API std::string results_csv(const Study& study, const StudyResults& results);
/// A table for LaTeX's booktabs.
DTK_API std::string results_tex(const Study& study, const StudyResults& results);

}  // namespace dtk
