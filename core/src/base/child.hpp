#pragma once
// A child of this process that goes on as if it had been started alone, and what the cells of a study have in common.
#include <dtk/api.hpp>

namespace dtk {

/// The variable that names the folder where they keep numbers that depend on the data and not on a cell
/// (dtk/remembered.hpp).
constexpr const char* remembering_variable = "DTK_REMEMBERED";

/// No plugin has the word in it yet; whose fault it is when it ends, it says itself.
DTK_API void begin_blame();
/// The line on the terminal is its parent's.
DTK_API void begin_progress();

}  // namespace dtk
