#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/experiment.hpp"
#include "base/lease.hpp"

namespace dtk {

/// The record of one run on disk: what was asked, what ran, what came out. One process at a time has it: as long as
/// this lives, run.lease in the folder says so.
class RunFolder {
 public:
    /// A fresh folder: `out`, which must not exist, be empty, or hold no more than a run that ended before it wrote its
    /// run.json; or runs/<name>/<time> under the working folder. Errors: Mistaken.
    static RunFolder fresh(const Experiment& experiment, const std::optional<std::filesystem::path>& out);
    /// A folder that is there, to go on in. Errors: Mistaken when it is no run's, its record is damaged, or another
    /// process has it.
    static RunFolder existing(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return path_; }
    /// Writes the file as given and as resolved, and then run.json with its status "running". The record of a completed
    /// run stays as it is until it is completed again.
    void begin(const Experiment& experiment, const std::string& device);
    /// Keeps the hash of the files that a stage's data were read from, if they were read from files.
    void reads(const std::string& stage, const std::string& fingerprint);
    /// Adds seconds of training, sampling and measuring to those of earlier stages and processes.
    void took(const nlohmann::json& seconds);
    /// Rewrites run.json with that status, unless the run was completed before and is not now: results are never lost.
    void finish(const std::string& status, const nlohmann::json& result, const std::string& error = {});

 private:
    RunFolder(std::filesystem::path path, Lease lease) : path_(std::move(path)), lease_(std::move(lease)) {}
    static RunFolder taken(const std::filesystem::path& path);
    void write() const;
    void make_latest() const;
    std::filesystem::path path_;
    KeptLease lease_;
    nlohmann::json record_;
    bool was_completed_ = false;
    bool under_runs_ = false;  ///< it lies where `latest` points to the newest
};

/// The time of day here as a name for a folder: 20261122-031500.
std::string time_stamp();

/// The newest run of that experiment under the working folder's runs/. Errors: Mistaken when there is none.
std::filesystem::path latest_run(const std::string& name);

}  // namespace dtk
