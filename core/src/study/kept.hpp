#pragma once
// A study as its folder keeps it: all that its report and `dtk show` need, without the file it came from, without its
// plugins and without LibTorch; and how it was planned before there were results.
#include <nlohmann/json.hpp>

#include "study/study.hpp"

namespace dtk {

/// The study as JSON, with the settings of its comparisons, its arms, tasks and cells.
DTK_API nlohmann::json study_json(const Study& study);

/// The study that a folder keeps. Errors: UserError where study.json is missing, damaged or of an older dtk.
DTK_API Study kept_study(const std::filesystem::path& folder);

/// Writes study.json. What decides the comparisons (baseline, metrics, seeds, level …) is kept as it was at first and
/// whenever it changed, with how many cells had been done by then. `request`: how the study was asked for.
DTK_API void keep_study(const Study& study, const std::filesystem::path& folder, const nlohmann::json& request,
                        std::size_t done);

/// What was chosen after results were there, a sentence each.
DTK_API std::vector<std::string> chosen_afterwards(const std::filesystem::path& folder);

}  // namespace dtk
