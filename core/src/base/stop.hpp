#pragma once
// Signals that ask a run to end in good order.
#include <string_view>

#include <dtk/api.hpp>

namespace dtk {

/// From now on the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 asks what runs to save itself and end; the second ends the
/// program at once. A SIGHUP that is ignored, as under nohup, stays ignored.
DTK_API void watch_signals();

/// Has somebody asked to stop?
DTK_API bool stop_asked();

/// The signal that asked; 0: none.
DTK_API int stop_signal();

/// Another process of the same run was sent that signal. One of this process's own is then still its first.
DTK_API void stop_with(int signal);

/// Errors: Interrupted, where somebody has asked to stop; `doing`: "while samples were drawn".
DTK_API void end_if_asked(std::string_view doing);

/// What a program ends with that was asked to stop: 130 after an interrupt from the keyboard; 85 after the signals by
/// which a queue takes a machine back, so that it can tell a job that is to be begun again from one that has failed.
DTK_API int stop_code();

}  // namespace dtk
