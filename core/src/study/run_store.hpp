#pragma once
// What runs and studies left on disk, read without LibTorch and without trust: a folder may be half-written, damaged or
// foreign.
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dtk/api.hpp>
#include <dtk/better.hpp>
#include <nlohmann/json.hpp>

namespace dtk {

/// One value that a run measured; NaN where something is not known.
struct Measured {
    std::string metric;  ///< with its stage before it where there are several: "student.nll"
    double value = NAN;
    std::optional<Better> better = {};  ///< unset in records of an older dtk
    std::string unit;
    double expected = NAN, expected_sd = NAN;  ///< of true samples
    double standard_error = NAN;
    std::optional<bool> passes = {};
    std::string note;
    nlohmann::json card;  ///< under what conditions it was measured
};

/// An arm with a seed, and where its results lie.
struct CellRecord {
    std::string arm;
    std::int64_t seed = 0;
    std::optional<std::int64_t> sample_seed = {};
    std::string stream = {};  ///< the one random stream that follows the seed; empty: all that do in this study
    std::filesystem::path trained, measured;  ///< folders, the same where one process did both
    std::string status;                       ///< "done", "failed", "running", "to do"
    std::string error;                        ///< of a failed one
    /// "3", with a seed of what was drawn "3, drawn with 1", of one stream "3 of init alone".
    DTK_API std::string seed_text() const;
};

struct DTK_API Record {
    enum class What { run, sample, study, damaged, foreign };
    What what = What::foreign;
    std::filesystem::path folder;
    std::string name;
    std::string started;  ///< UTC, as 2026-11-28T08:05:10Z; empty where nobody knows
    std::string status;   ///< "completed", "failed", "interrupted", "running", "killed"; of a study "complete",
                          ///< "incomplete", "running"
    std::string problem;  ///< why it failed, or what is wrong with the folder
    std::optional<std::int64_t> seed, step, steps;  ///< how far training is, of how many steps
    std::vector<Measured> measured;
    std::vector<CellRecord> cells;
    nlohmann::json content;  ///< run.json, result.json or study.json as it stands there

    bool is_run() const { return what == What::run; }
    std::size_t count(const std::string& cell_status) const;
};

/// The values in a run's or a sampling's result: of one stage, or of several by their names.
DTK_API std::vector<Measured> measured_in(const nlohmann::json& result);

/// The result of a run or a sampling that is complete, with its seconds; nothing where there is none.
DTK_API std::optional<nlohmann::json> finished_result(const std::filesystem::path& folder);

/// What lies in that folder. Never throws for what it finds there.
DTK_API Record read_record(const std::filesystem::path& folder);

/// Every run and study in that folder and the folders in it, newest first; folders that are neither are said to be so.
DTK_API std::vector<Record> records_in(const std::filesystem::path& folder);

/// The run, study or folder of samples that is meant: a path, the name of an experiment (its latest), the beginning of
/// a run's name that only one has, or "latest". Errors: UserError with what is near.
DTK_API Record find_record(const std::string& text);

/// The folders of a run that were a stage's: the run's own, or one for each stage, by their names.
DTK_API std::vector<std::pair<std::string, std::filesystem::path>> stages_of(const Record& run);

/// Every field of the experiment that was run: "schedule.use" → "cosine", numbers and lists as TOML has them. Stages
/// stand before their keys. Errors: UserError where resolved.toml is missing or damaged.
DTK_API std::map<std::string, std::string> settings_of(const Record& run);

/// A value and what true samples give: "2.069 (true 2.046 ± 0.014)".
DTK_API std::string in_words(const Measured& measured);

}  // namespace dtk
