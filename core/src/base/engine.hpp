#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include <dtk/schedule.hpp>

#include "base/experiment.hpp"
#include "base/progress.hpp"

namespace dtk {

struct RunRequest {
    std::filesystem::path file;
    Overrides overrides;
    std::optional<std::filesystem::path> out;  ///< the run's folder; otherwise a fresh one under runs/<name>
    /// A run's folder, or "latest". With `out` it is "latest", and goes on there if a run of this file is, else begins.
    std::optional<std::string> resume;
    bool accept_changed = false;  ///< go on though data or plugins are others than the run's
    bool dry_run = false;
    /// Look at one step of a run that is there, from 1: "1234", of a stage "student/1234".
    std::optional<std::string> replay = {};
    Progress::Mode progress = Progress::Mode::automatic;
};

struct SampleRequest {
    std::filesystem::path run;
    std::optional<std::filesystem::path> checkpoint =
        {};  ///< one of the run's; otherwise that of `step`, or the newest
    std::optional<std::int64_t> step = {};
    bool best = false;  ///< that with the least held-out error
    Overrides overrides;
    std::optional<std::filesystem::path> out;
    Progress::Mode progress = Progress::Mode::automatic;
};

/// `dtk ema`.
struct AverageRequest {
    std::filesystem::path run;
    std::vector<double> widths;
    std::optional<std::int64_t> step = {};  ///< otherwise that of the newest copy
    Overrides overrides = {};
};

/// `dtk data show`.
struct DataRequest {
    std::filesystem::path file;
    Overrides overrides;
    std::optional<std::filesystem::path> out;  ///< the picture; otherwise NAME-data.svg
    Progress::Mode progress = Progress::Mode::automatic;
};

/// `dtk data import`.
struct ImportRequest {
    std::string dataset;                             ///< that reads what others publish
    std::optional<std::filesystem::path> file = {};  ///< its field `file`
    std::vector<std::string> set;                    ///< KEY=VALUE, further fields of it
    std::filesystem::path out;
    std::vector<std::filesystem::path> plugin_path = {};
};

/// `dtk doctor RUN`.
struct DiagnoseRequest {
    std::filesystem::path run;                  ///< holds run.json
    std::vector<std::filesystem::path> stages;  ///< the folders that hold stage.toml
    Overrides overrides;
    Progress::Mode progress = Progress::Mode::automatic;
};

/// `dtk schedule equivalent`: experiments, "FILE:STAGE", or folders of runs.
struct EquivalenceRequest {
    std::string a, b;
    std::vector<std::string> set, set_a, set_b;  ///< of both, and of each
    std::vector<std::filesystem::path> folders;
};

/// The noise of an experiment, and how much its objective makes the squared error of ε count there.
struct WeighedNoise {
    NoiseLevels levels;
    std::vector<double> weight;  ///< at t = 0 … T−1, for each unit of log-SNR
};

/// What needs LibTorch: opened when a command asks for it. Each call prints and returns an exit code.
class Engine {
 public:
    virtual ~Engine() = default;
    virtual int check(const std::filesystem::path& file, const Overrides& overrides) = 0;
    /// The same without printing: what is wrong goes into `mistakes` → a hash of the data, where files were read.
    virtual std::string examine(const std::filesystem::path& file, const Overrides& overrides,
                                Diagnostics& mistakes) = 0;
    virtual int run(const RunRequest& request) = 0;
    virtual int replay(const RunRequest& request) = 0;
    virtual int sample(const SampleRequest& request) = 0;
    virtual int ema(const AverageRequest& request) = 0;
    virtual int data(const DataRequest& request) = 0;
    virtual int import(const ImportRequest& request) = 0;
    /// The noise levels that the process of a run or stage was trained with, by its folder.
    virtual NoiseLevels levels(const std::filesystem::path& run) = 0;
    /// Lines about LibTorch, the device and CUDA.
    virtual std::string doctor() = 0;
    /// What is wrong with a run; nothing is written.
    virtual int diagnose(const DiagnoseRequest& request) = 0;
    /// Prints whether two experiments minimise the same: 0 where they do, else 1.
    virtual int equivalent(const EquivalenceRequest& request) = 0;
    /// Of an experiment, "FILE:STAGE", or the folder of a run.
    virtual WeighedNoise weighed_noise(const std::string& experiment, const Overrides& overrides) = 0;
};

/// Exit codes, everywhere.
enum ExitCode { done = 0, failed = 1, mistaken = 2, plugin_fault = 3, taken_back = 85, interrupted = 130 };

/// A run was stopped by a signal, after it saved what it had.
class DTK_API Interrupted : public Error {
 public:
    using Error::Error;
    ~Interrupted() override;
};

/// What went wrong belongs to a file or its contents: exit code 2 (an Error alone is a failed experiment, 1).
class DTK_API UserError : public Error {
 public:
    using Error::Error;
    ~UserError() override;
};

}  // namespace dtk
