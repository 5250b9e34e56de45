#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/experiment.hpp"

namespace dtk {

/// The record of one run on disk: what was asked, what ran, what came out.
class RunFolder {
 public:
    /// A fresh folder: `out`, which must not exist or be empty, or runs/<name>/<time> under the working folder.
    static RunFolder fresh(const Experiment& experiment, const std::optional<std::filesystem::path>& out);
    /// A folder that is there, to go on in. Errors: Mistaken when it is no run's.
    static RunFolder existing(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return path_; }
    /// Writes the file as given and as resolved, and run.json with its status "running".
    void begin(const Experiment& experiment, const std::string& device);
    /// Rewrites run.json with that status.
    /// Keeps the hash of the files that a stage's data were read from, if they were read from files.
    void reads(const std::string& stage, const std::string& fingerprint);
    /// Adds seconds of training, sampling and measuring to those of earlier stages and processes.
    void took(const nlohmann::json& seconds);
    void finish(const std::string& status, const nlohmann::json& result, const std::string& error = {});

 private:
    explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
    void write() const;
    std::filesystem::path path_;
    nlohmann::json record_;
};

/// The time of day here as a name for a folder: 20261122-031500.
std::string time_stamp();

/// The newest run of that experiment under the working folder's runs/. Errors: Mistaken when there is none.
std::filesystem::path latest_run(const std::string& name);

}  // namespace dtk
