#pragma once
// The report of a study: one page that needs nothing but itself, and the numbers for other programs.
#include "study/results.hpp"

namespace dtk {

/// Writes report.html, results.json, results.csv and results.tex into the study's folder → the report's path.
DTK_API std::filesystem::path write_report(const Study& study, const StudyResults& results,
                                           const std::filesystem::path& folder, bool accept_rebuilt);

}  // namespace dtk
