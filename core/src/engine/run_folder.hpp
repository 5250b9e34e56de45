#pragma once
// The record of one run on disk.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <dtk/build_context.hpp>
#include <nlohmann/json.hpp>

#include "base/classes.hpp"
#include "base/engine.hpp"
#include "base/lease.hpp"

namespace dtk {

/// The record of one run on disk: what was asked, what ran, what came out. One process at a time has it: as long as
/// this lives, run.lease in the folder says so.
class RunFolder {
 public:
    /// A fresh folder: `out`, which must not exist, be empty, or hold no more than a run that ended before it wrote its
    /// run.json; or runs/<name>/<time> under the working folder. Errors: UserError.
    static RunFolder fresh(const Experiment& experiment, const std::optional<std::filesystem::path>& out);
    /// A folder that is there, to go on in. Errors: UserError when it is no run's, its record is damaged, or another
    /// process has it.
    static RunFolder existing(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return path_; }
    /// What run.json says of it; empty for a fresh one.
    const nlohmann::json& record() const { return record_; }
    /// What the run is asked to do from now on, other than what it was completed with: its record is no longer that of
    /// a completed run; what it measured then stays in `entry`. Errors: none.
    void change(nlohmann::json entry);
    /// Writes run.json with its status "running", and the file as given and as resolved. The record of a completed run
    /// that nothing has changed stays as it is until it is completed again.
    void begin(const Experiment& experiment, const std::string& device);
    /// Keeps, from the beginning on, the hash of the files that a stage's data are read from, if they are read from
    /// files.
    void reads(const std::string& stage, const std::string& fingerprint);
    /// Keeps, from the beginning on, what a stage's data are divided into.
    void divides(const std::string& stage, const Classes& classes);
    /// Keeps the hash of the checkpoint that a stage began as.
    void begins_as(const std::string& stage, const std::string& sha256);
    /// Keeps the hashes of the trained networks that a stage's plugins have, by their names in the file.
    void stands_on(const std::string& stage, const std::map<std::string, TrainedNetwork>& networks);
    /// Keeps, from the beginning on, how many processes train together.
    void trained_by(std::int64_t processes) { record_["processes"] = processes; }
    /// Adds seconds of training, sampling and measuring to those of earlier stages and processes.
    void took(const nlohmann::json& seconds);
    /// Rewrites run.json with that status, unless the run was completed before and is not now: results are never lost.
    void finish(const std::string& status, const nlohmann::json& result, const std::string& error = {});

 private:
    RunFolder(std::filesystem::path path, Lease lease) : path_(std::move(path)), lease_(std::move(lease)) {}
    static RunFolder taken(const std::filesystem::path& path);
    void write() const;
    void make_latest() const;
    /// Whoever was killed between the record of a change and the change has not made it.
    void take_back_what_was_not_made();
    std::filesystem::path path_;
    KeptLease lease_;
    nlohmann::json record_ = nlohmann::json::object();
    bool was_completed_ = false;
    bool under_runs_ = false;  ///< it lies where `latest` points to the newest
};

/// The plugins of an experiment, with the hashes of their files, for run.json; `trained_with`: only those that had a
/// say in training.
nlohmann::json plugin_records(const Experiment& experiment, bool trained_with = false);

/// The time now, as run.json has it.
std::string utc_now();

/// The time of day here as a name for a folder: 20261122-031500.
std::string time_stamp();

/// The folder of the run that --out or --resume names; else the newest of the experiment of that name. Errors:
/// UserError where they name two, or there is none.
std::filesystem::path named_run(const RunRequest& request, const std::string& name);

/// The newest run of that experiment under the working folder's runs/. Errors: UserError when there is none.
std::filesystem::path latest_run(const std::string& name);

}  // namespace dtk
