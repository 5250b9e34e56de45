#pragma once
// What a study is: its arms, its seeds, and everything there is to do for them.
#include <algorithm>
#include <functional>
#include <optional>

#include <nlohmann/json_fwd.hpp>

#include "base/expectation.hpp"
#include "base/experiment.hpp"
#include "base/progress.hpp"

namespace dtk {

/// A way the experiment is varied: a name and what it lays over the file.
struct Arm {
    std::string name;
    std::vector<std::string> set;                       ///< KEY=VALUE
    std::vector<std::size_t> levels = {};               ///< which value it has of each axis
    std::map<std::string, SourceLocation> places = {};  ///< where each of them stands in the study's file
};

/// What changes from arm to arm, and what its values are called.
struct AxisNames {
    std::string key;
    std::vector<std::string> values;
};

/// A difference from which on one matters: a share of the baseline's mean, or in the metric's unit; 0: nobody said.
struct Smallest {
    double value = 0;
    bool relative = false;
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
    std::string goes_on = {};           ///< the shorter training that this one goes on with
    std::map<std::string, std::string> stands_on = {};  ///< what it calls another network → the task that trains that
    std::string first = {};                             ///< the name of an experiment of `first`; empty otherwise
};

/// An arm with a seed.
struct Cell {
    std::size_t arm;
    std::int64_t seed;
    std::optional<std::int64_t> sample_seed;  ///< of what is drawn, where the study varies it apart from the training
    std::string task;                         ///< the task whose result is the cell's
    std::vector<std::string> tuned = {};      ///< where the study tunes: by value, the task that says how good it is
    std::vector<std::string> choices = {};    ///< and the task whose result would be the cell's
    std::optional<std::size_t> chosen = {};   ///< the value that `task` has; unset while that is open
    std::string stream = {};  ///< the one random stream that follows the seed; empty: all that the study varies
};

/// `[ablation.tune]`: a key whose value every arm chooses for each of its trainings, by samples that are not reported.
struct Tuning {
    std::string key, metric;
    std::vector<std::string> values;  ///< as TOML has them
    std::int64_t seed = 999'983;      ///< of the samples that choose
};

/// A rung of a search that is finished.
struct Rung {
    std::int64_t steps = 0;         ///< of each training
    std::vector<std::string> arms;  ///< that ran, the baseline among them
    std::vector<double> means;      ///< of the first metric; NaN where an arm has none
    std::vector<std::string> kept;  ///< for the next rung, beside the baseline; of the last one the winner
};

/// `search = "halving"`: of many arms few are trained for long (Jamieson & Talwalkar 2016), and the winner is held
/// against the baseline with seeds that had no part in choosing it.
struct DTK_API Search {
    std::size_t rungs = 0, eta = 0;          ///< each rung keeps one arm in eta, and trains them eta times as long
    std::vector<std::int64_t> seeds, fresh;  ///< of the search, and of the trainings that confirm what it found
    std::vector<std::string> arms = {};      ///< all there are
    std::int64_t steps = 0;                  ///< of the last rung, and of those that confirm
    std::vector<Rung> done = {};
    bool is_confirming() const { return done.size() == rungs; }
    std::int64_t steps_of(std::size_t rung) const;
    /// How many arms of so many, the baseline left out, a rung keeps.
    std::size_t kept_of(std::size_t arms) const { return (arms + eta - 1) / eta; }
    /// The rungs, the arms and the steps in all of them, in a sentence or two.
    std::string text() const;
};

/// How far a study that grows by what it finds has come.
struct Growth {
    std::size_t seeds = 0;         ///< to have at least; where the file has fewer, the next whole numbers are added
    std::vector<Rung> rungs = {};  ///< of a search: those that are finished
};

/// `[ablation]` of an experiment file, read, with everything there is to do.
struct DTK_API Study {
    std::filesystem::path file;
    std::string name, question, text;
    std::vector<Arm> arms;
    std::size_t baseline = 0;
    std::vector<AxisNames> axes;
    std::vector<std::int64_t> seeds;  ///< of the trainings, and of what is drawn where there are no others for that
    std::vector<std::int64_t> sample_seeds;  ///< every training is drawn from with each; empty: with its own
    std::vector<std::string> vary;           ///< random streams that follow the training's seed; empty: all there are
    bool one_at_a_time = false;              ///< every arm is trained with each of those varied alone, too
    std::optional<Tuning> tune;
    std::optional<Search> search;
    std::vector<std::string> metrics;  ///< that count, the first above all
    std::vector<Task> tasks;           ///< each after those that it stands on
    std::vector<Cell> cells;
    double level = 0.95;
    std::vector<std::string> notes;  ///< what arms drop of the file, a line each
    bool all_pairs = false;          ///< every arm is compared with every other
    std::string confirm = "first";   ///< whose comparisons hold together: the first metric's, or "all" metrics'
    Smallest smallest;
    bool until_decided = false;   ///< seeds are added until the first metric's comparisons are decided
    std::int64_t limit = 0;       ///< then at most so many
    std::size_t first_seeds = 0;  ///< and the study began with so many
    /// What the simultaneous intervals may err together: of the look at so many seeds, where several are taken.
    double error() const;
    const Task& task(const std::string& id) const;
    std::size_t cells_of_arm() const { return seeds.size() * std::max<std::size_t>(1, sample_seeds.size()); }
    /// The cell's place among those of its arm: by seed, and within it by sampling seed.
    std::size_t place_of(const Cell& cell) const;
};

/// Checks one experiment of a study → a hash of the data it reads; what is wrong goes into the mistakes.
using Examine =
    std::function<std::string(const std::filesystem::path& file, const Overrides& overrides, Diagnostics& mistakes)>;

/// "1%" or "0.02"; nothing where it is neither, or not above 0.
DTK_API std::optional<Smallest> read_smallest(const std::string& text);

/// Does the file hold a study?
DTK_API bool is_study(const std::filesystem::path& file, const Overrides& overrides);

/// Reads the study and checks every arm. What is wrong goes into `mistakes`, and the result is then of no use.
DTK_API Study read_study(const std::filesystem::path& file, const Overrides& overrides, std::int64_t threads,
                         const Examine& examine, Diagnostics& mistakes, const Growth& growth = {});

/// Experiments that say what comes out of them, [expect], as a study whose arms are the files: each one run, as a
/// whole. → with what each of them claims. A file without a seed has 0.
DTK_API Study read_claims(const std::vector<std::filesystem::path>& files, const Overrides& overrides,
                          std::int64_t threads, const Examine& examine, std::vector<std::vector<Expectation>>& claims,
                          Diagnostics& mistakes);

struct StudyRequest {
    std::filesystem::path folder;
    std::int64_t jobs = 1;
    std::optional<std::pair<std::int64_t, std::int64_t>> part;  ///< i of n: one share of the trainings and their cells
    std::vector<std::string> gpus = {};  ///< dealt out among the jobs, each sees one; empty: they are left as they are
    bool accept_rebuilt = false;
    Progress::Mode progress = Progress::Mode::automatic;
    std::function<bool()> stop = [] { return false; };
    /// With it a task is done by a child of this process, which has LibTorch and the plugins already and what was read
    /// of the data; null: by a program of its own, as wherever this process has other threads.
    class Engine* engine = nullptr;
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
DTK_API std::optional<nlohmann::json> result_of(const Task& task, const std::filesystem::path& folder,
                                                bool accept_rebuilt = false);

/// What to type to do again what failed of a task and of what it stands on.
DTK_API std::string command_of(const Study& study, const Task& task, const std::filesystem::path& folder);

/// Why a task failed, in a line; empty where it did not.
DTK_API std::string failure_of(const Study& study, const Task& task, const std::filesystem::path& folder);

/// The value that tuning chose for a cell: the first of the best, where a task that failed, or has no finite number, is
/// the worst. Nothing while one of them is open: it has neither a result nor failed.
DTK_API std::optional<std::size_t> chosen_value(const Study& study, const Cell& cell,
                                                const std::filesystem::path& folder, bool accept_rebuilt,
                                                const std::function<bool(const Task&)>& has_failed);

/// Settles the cells of a study that tunes on what was chosen so far; an open one stands at the first value.
DTK_API void choose_tuned(Study& study, const std::filesystem::path& folder, bool accept_rebuilt);

/// The tasks that are done or will have to be, each after those that it stands on: all but those of values that are not
/// chosen.
DTK_API std::vector<const Task*> needed_tasks(const Study& study);

/// What there is to do, what of it is done, and about how long the rest will take.
DTK_API std::string plan_text(const Study& study, const std::filesystem::path& folder, std::int64_t jobs,
                              bool accept_rebuilt);

/// Does what is not done yet, side by side. Other processes may work on the same folder, on this host or others. → how
/// many tasks failed. Errors: Interrupted when asked to stop.
DTK_API std::size_t run_study(const Study& study, const StudyRequest& request);

}  // namespace dtk
