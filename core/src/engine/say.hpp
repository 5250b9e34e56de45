#pragma once
// What commands print, and how what went wrong becomes words and an exit code.
#include <functional>
#include <string>

#include "base/experiment.hpp"

namespace dtk {

/// A line of results. Where nobody reads them any more (`| head`) the run goes on all the same.
void say(const std::string& line);

/// What was dropped of the file, on standard error.
void say_notes(const Experiment& experiment);

/// Prints what is wrong; the exit code.
int report(const Diagnostics& mistakes);

/// Runs `work`; what it throws is said, and becomes an exit code. `record` is told how it ended.
int guarded(const std::function<int()>& work,
            const std::function<void(const std::string& status, const std::string& error)>& record = {});

}  // namespace dtk
