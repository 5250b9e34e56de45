#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/engine.hpp"
#include "base/laws.hpp"
#include "base/words.hpp"

namespace dtk::cli {

/// `dtk plugins …` and `dtk doctor` without a run.
struct PluginsRequest {
    std::string kind;
    std::vector<std::string> names;
    std::vector<std::filesystem::path> folders;
    bool json = false, verbose = false;
    std::string format = "text";                    ///< of describe: text, json, md, html, man
    std::optional<std::filesystem::path> out = {};  ///< of describe: the folder of a reference
};

/// `dtk schedule show`.
struct ScheduleRequest {
    std::vector<std::string> names;  ///< of schedules, or folders of runs and stages
    std::vector<std::string> set;
    std::vector<std::filesystem::path> folders;
    std::int64_t steps = 1000, rows = 11;
    std::string format = "text";
    std::optional<std::filesystem::path> picture;
};

/// What `dtk run` takes for a file with [ablation].
struct StudyOptions {
    std::int64_t jobs = 0;  ///< 0: one for each core
    std::string part;       ///< "i/n"
    bool accept_rebuilt = false;
};

/// `dtk study power`.
struct PowerRequest {
    std::filesystem::path study;
    std::string difference;  ///< "1%" of the baseline's mean, or a number
    double chance = 0.8;
};

/// `dtk verify`.
struct VerifyRequest {
    std::vector<std::filesystem::path> paths;  ///< experiment files, folders of them, or runs
    std::optional<std::filesystem::path> out;  ///< where what has to be run goes; otherwise runs/verify
    std::int64_t jobs = 0;                     ///< 0: one for each core
    bool dry_run = false, json = false;
    Progress::Mode progress = Progress::Mode::automatic;
};

/// `dtk new`.
struct NewRequest {
    std::string kind, name;
    std::optional<std::filesystem::path> folder;
};

/// `dtk plugins build` and `dtk plugins watch`.
struct BuildRequest {
    std::vector<std::filesystem::path> sources;
    std::vector<std::string> command;  ///< that watch runs after each build
};

/// `dtk plugins check`.
struct CheckRequest {
    std::vector<std::string> plugins;  ///< names, KIND/NAME, .so or .cpp files, folders; empty: all there are
    std::vector<std::string> set;      ///< a field of the plugin, or KIND.FIELD of what it is tried with
    std::vector<std::filesystem::path> folders;
    std::int64_t jobs = 0;               ///< 0: one for each core
    std::filesystem::path picture = {};  ///< of one plugin; empty: none
    std::string law = {};                ///< only laws whose words hold this
    bool json = false, verbose = false;
};

// Each prints and returns the exit code.
int new_plugin(const NewRequest& request);
int plugins_build(const BuildRequest& request);
int plugins_check(const CheckRequest& request);
int plugins_watch(const BuildRequest& request);
int verify(const VerifyRequest& request);
int study_power(const PowerRequest& request);
int run(RunRequest& request, bool resume, const StudyOptions& study);
int report(const std::filesystem::path& study);
int check(const std::filesystem::path& file, const Overrides& overrides);
int ema(const AverageRequest& request);
int sample(SampleRequest& request);
int plugins_list(const PluginsRequest& request);
int plugins_describe(const PluginsRequest& request);
int plugins_path(const PluginsRequest& request);
int schema(const PluginsRequest& request);
int schedule_show(const ScheduleRequest& request);
int doctor(const PluginsRequest& request);
int diagnose(const std::string& run, DiagnoseRequest& request);

// What the commands share.

/// The half that needs LibTorch, opened for good: what it made may live until exit.
Engine& engine();
/// The laws of plugins, likewise.
Laws& laws();
/// Builds a plugin's C++ file → the plugin, in build/plugins beside it. Errors: UserError after the compiler's words.
std::filesystem::path build_plugin(const std::filesystem::path& source);
/// As wide as `width` on the screen, counting characters rather than bytes.
std::string padded(const std::string& text, std::size_t width);
/// Makes a folder that was not there, named by the time.
std::filesystem::path fresh_folder(const std::filesystem::path& parent);
/// Prints what is wrong → the exit code.
int complain(const Diagnostics& mistakes);
/// Prints what a file says: nothing in it can move the terminal's cursor.
template <class... Values>
void show(fmt::format_string<Values...> format, Values&&... values) {
    fmt::print("{}", harmless(fmt::format(format, std::forward<Values>(values)...)));
}

}  // namespace dtk::cli
