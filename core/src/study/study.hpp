#pragma once
#include <functional>
#include <optional>

#include <nlohmann/json_fwd.hpp>

#include "base/experiment.hpp"
#include "base/progress.hpp"

namespace dtk {

/// A way the experiment is varied: a name and what it lays over the file.
struct Arm {
    std::string name;
    std::vector<std::string> set;              ///< KEY=VALUE
    std::map<std::string, Place> places = {};  ///< where each of them stands in the study's file
};

/// One process of dtk's: a training that several cells may share, the sampling and measuring of one cell, or both at
/// once.
struct Task {
    enum class What { train, measure, both };
    What what;
    std::string id = {};  ///< hash of the experiment, its data, what it stands on, and the files of dtk and its plugins
    std::string config = {};            ///< the same without dtk and plugins: what --accept-rebuilt goes by
    std::string text;                   ///< the experiment, every field written out
    std::vector<std::string> set = {};  ///< what measuring lays over the training's experiment
    std::string needs = {};             ///< the training it measures
    std::map<std::string, std::string> stands_on = {};  ///< what it calls another network → the task that trains that
    std::string first = {};                             ///< the name of an experiment of `first`; empty otherwise
};

/// An arm with a seed.
struct Cell {
    std::size_t arm;
    std::int64_t seed;
    std::string task;  ///< the task whose result is the cell's
};

/// `[ablation]` of an experiment file, read, with everything there is to do.
struct DTK_API Study {
    std::filesystem::path file;
    std::string name, question, text;
    std::vector<Arm> arms;
    std::size_t baseline = 0;
    std::vector<std::int64_t> seeds;
    std::vector<std::string> metrics;  ///< that count, the first above all
    std::vector<Task> tasks;           ///< each after those that it stands on
    std::vector<Cell> cells;
    double level = 0.95;
    std::vector<std::string> notes;  ///< what arms drop of the file, a line each
    const Task& task(const std::string& id) const;
};

/// Checks one experiment of a study → a hash of the data it reads; what is wrong goes into the mistakes.
using Examine =
    std::function<std::string(const std::filesystem::path& file, const Overrides& overrides, Mistakes& mistakes)>;

/// Does the file hold a study?
DTK_API bool is_study(const std::filesystem::path& file, const Overrides& overrides);

/// Reads the study and checks every arm. What is wrong goes into `mistakes`, and the result is then of no use.
DTK_API Study read_study(const std::filesystem::path& file, const Overrides& overrides, std::int64_t threads,
                         const Examine& examine, Mistakes& mistakes);

struct StudyRequest {
    std::filesystem::path folder;
    std::int64_t jobs = 1;
    std::optional<std::pair<std::int64_t, std::int64_t>> part;  ///< i of n: one share of the trainings and their cells
    std::vector<std::string> gpus = {};  ///< dealt out among the jobs, each sees one; empty: they are left as they are
    bool accept_rebuilt = false;
    Progress::Mode progress = Progress::Mode::automatic;
    std::function<bool()> stop = [] { return false; };
};

/// Where the results of the task with that id lie in the study's folder, or will: with accept_rebuilt perhaps those of
/// another build, whose id differs behind the dash.
DTK_API std::filesystem::path task_folder(const std::filesystem::path& study, const std::string& id,
                                          bool accept_rebuilt);
inline std::filesystem::path folder_of(const Task& task, const std::filesystem::path& folder, bool accept_rebuilt) {
    return task_folder(folder, task.id, accept_rebuilt);
}

/// The last error that a program of dtk's reported in its log; empty where there is none.
DTK_API std::string error_in(const std::filesystem::path& log);

/// What a finished task found, or nothing.
DTK_API std::optional<nlohmann::json> result_of(const Study& study, const Task& task,
                                                const std::filesystem::path& folder, bool accept_rebuilt = false);

/// What to type to do again what failed of a task and of what it stands on.
DTK_API std::string command_of(const Study& study, const Task& task, const std::filesystem::path& folder);

/// Why a task failed, in a line; empty where it did not.
DTK_API std::string failure_of(const Study& study, const Task& task, const std::filesystem::path& folder);

/// What there is to do, what of it is done, and about how long the rest will take.
DTK_API std::string plan_text(const Study& study, const std::filesystem::path& folder, std::int64_t jobs,
                              bool accept_rebuilt);

/// Does what is not done yet, side by side. Other processes may work on the same folder, on this host or others. → how
/// many tasks failed. Errors: Interrupted when asked to stop.
DTK_API std::size_t run_study(const Study& study, const StudyRequest& request);

}  // namespace dtk
