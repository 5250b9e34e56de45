#pragma once
// Whose fault it is when a plugin ends the program: by a crash, by exit(), or by never coming back.
#include <filesystem>
#include <functional>
#include <string>

#include <dtk/api.hpp>

namespace dtk {

/// While it lives, a plugin has the word. Where the program crashes or exits meanwhile, it says whose plugin's code
/// that was, by the innermost frame of the stack that lies in a plugin's file, else by the innermost Blame, and ends
/// with exit code 3. Only one thread at a time may make them.
class DTK_API Blame {
 public:
    /// `whose`: "schedule plugin `cosine`"; `doing`: "while it is built".
    Blame(const std::string& whose, const std::string& doing, const std::filesystem::path& file);
    ~Blame();
    Blame(const Blame&) = delete;
    Blame& operator=(const Blame&) = delete;
};

/// How many seconds a plugin may have the word: 60, or $DTK_PLUGIN_SECONDS.
DTK_API double plugin_seconds();

/// For a child process whose parent sees itself how it ends.
DTK_API void forget_blame();

/// Does `work` in a process of its own, so that nothing a plugin does can end this one, and with a limit on the time
/// that one plugin may have the word: plugin_seconds(), and ten times that for a data set, which may have many files to
/// look at. → what `work` returned, or 3 after a sentence about the plugin that had the word.
DTK_API int with_blame(const std::function<int()>& work);

}  // namespace dtk
