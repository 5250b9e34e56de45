#pragma once
// Signals that ask a run to end in good order.

namespace dtk {

/// From now on the first SIGINT or SIGTERM asks the run to finish its step; the second ends the program as usual.
void watch_signals();

/// Has somebody asked to stop?
bool stop_asked();

}  // namespace dtk
