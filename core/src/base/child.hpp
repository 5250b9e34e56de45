#pragma once
// A child of this process that goes on as if it had been started alone.
#include <dtk/api.hpp>

namespace dtk {

/// No plugin has the word in it yet; whose fault it is when it ends, it says itself.
DTK_API void begin_blame();
/// The line on the terminal is its parent's.
DTK_API void begin_progress();

}  // namespace dtk
