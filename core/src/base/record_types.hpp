#pragma once
// The types of what dtk writes into run.json, result.json, study.json and metrics.jsonl, so that all who read these
// files can rely on them.
#include <string>
#include <string_view>

#include <dtk/api.hpp>
#include <nlohmann/json.hpp>

namespace dtk {

/// Removes the fields of that file's content that are, or hold, something of another type than dtk writes → the first
/// of them in words, "`seed` is a text, not a whole number"; empty where all are right, and for files of other names.
/// Fields that dtk does not know stay.
DTK_API std::string remove_wrong_types(nlohmann::json& content, std::string_view file_name);

}  // namespace dtk
