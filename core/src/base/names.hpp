#pragma once
// The one check of every name that becomes part of a path.
#include <string>
#include <string_view>

#include <dtk/api.hpp>

namespace dtk {

/// Why the text cannot be the name of one file or folder, as "holds a /"; empty where it can.
DTK_API std::string name_problem(std::string_view name);

/// The same for the name of a stage, whose folder lies in the run's among what the run itself writes.
DTK_API std::string stage_name_problem(std::string_view name);

/// Is the text valid UTF-8?
DTK_API bool is_utf8(std::string_view text);

/// What to do about a name that cannot be one.
inline constexpr const char* name_cure = "use letters, digits, - and _";

}  // namespace dtk
