#pragma once
// The commands about runs and studies that have begun.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/progress.hpp"
#include "study/run_store.hpp"

namespace dtk::cli {

/// `dtk compare`.
struct CompareRequest {
    std::vector<std::string> runs;  ///< runs, globs, or folders that hold runs
    std::optional<std::string>
        baseline;  ///< a run of the group that the others are held against, or KEY=VALUE that only one group has
    double level = 0.95;
    bool other_cards = false;  ///< numbers that were not measured alike are compared nevertheless
    bool json = false;
};

/// `dtk reproduce`.
struct ReproduceRequest {
    std::string run;
    std::optional<std::filesystem::path> out;
    Progress::Mode progress = Progress::Mode::automatic;
};

/// `dtk export`.
struct ExportRequest {
    std::string run, to;
    std::optional<std::filesystem::path> out;
};

// Each prints and returns the exit code.
int list_runs(const std::filesystem::path& folder, bool as_json);
int show_run(const std::string& run, bool as_json);
int diff_runs(const std::string& before, const std::string& after, bool as_json);
int compare_runs(const CompareRequest& request);
int reproduce_run(const ReproduceRequest& request);
int export_run(const ExportRequest& request);

// What they share.

/// Columns as wide as their widest field; the first row is the heading.
void print_table(const std::vector<std::vector<std::string>>& rows);
/// The path as one would type it here, in quotes where the shell needs them.
std::string typed(const std::filesystem::path& path);
/// Plugins of a run, by kind and name, with the hash of their files.
std::map<std::string, nlohmann::json> plugins_of(const Record& run);
/// A text field of run.json, by its path: "/dtk/version"; empty where it is not there.
std::string field_of(const Record& run, const char* path);
nlohmann::json to_json(const Measured& measured);
/// What on this machine is not as the run's record has it, one sentence each.
std::vector<std::string> changes_since(const Record& run);

}  // namespace dtk::cli
