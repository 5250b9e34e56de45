#pragma once
// The laws of plugins, tried each in a process of its own: what `dtk plugins check` and the reference share.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/laws.hpp"

namespace dtk::cli {

/// A plugin, what its author names for its trial, and relative to which folder.
struct Tried {
    PluginFile plugin;
    toml::table named;
    std::filesystem::path folder;
    std::filesystem::path picture = {};  ///< where what it does is drawn, if it can be; empty: nowhere
    std::string law = {};                ///< only laws whose words hold this
};

/// The plugin with what NAME.check.toml beside `file` says, and `set` laid over that. Errors: UserError.
Tried tried(const Registry& registry, const PluginFile& plugin, const std::filesystem::path& file,
            const std::vector<std::string>& set = {});

/// What was found, and in how many seconds.
struct Checked {
    std::vector<LawVerdict> verdicts;
    double seconds = 0;
    std::string no_picture = {};  ///< why what was to be drawn could not be
    std::size_t count(LawVerdict::Outcome outcome) const;
    bool good() const { return count(LawVerdict::Outcome::broken) == 0; }
    /// "12 laws hold", "1 of 12 laws is broken"
    std::string text() const;
};

/// Tries the laws of all of them, `jobs` plugins at a time (0: one for each core); told in their order, as soon as that
/// can be.
void check_plugins(const Registry& registry, const std::vector<Tried>& all, std::int64_t jobs,
                   const std::function<void(const Tried&, const Checked&)>& told);

}  // namespace dtk::cli
