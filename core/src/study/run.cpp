#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <boost/dll/runtime_symbol_info.hpp>
#include <nlohmann/json.hpp>

#include "base/child.hpp"
#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/lease.hpp"
#include "base/words.hpp"
#include "study/memory.hpp"
#include "study/run_store.hpp"
#include "study/study.hpp"
#include "study/worker.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

/// What was left over of an earlier attempt that cannot be gone on with.
void clear(const fs::path& folder) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
}

fs::path log_of(const Task& task, const fs::path& folder) { return folder / "logs" / (task.id + ".log"); }

/// The tasks that have to be done before this one.
std::vector<std::string> stands_on(const Task& task) {
    std::vector<std::string> all;
    for (const auto& [name, id] : task.stands_on) all.push_back(id);
    for (const auto& id : {task.needs, task.goes_on})
        if (!id.empty()) all.push_back(id);
    return all;
}

/// The folder of a longer training as a shorter one left it: one that was stopped before it came to its end.
void begin_with(const fs::path& shorter, const fs::path& folder) {
    const auto copy = folder.string() + ".part";
    clear(copy);
    fs::copy(shorter, copy, fs::copy_options::recursive);
    auto record = read_record_file(fs::path(copy) / "run.json");
    record["status"] = "interrupted";
    record.erase("result");
    write_atomically(fs::path(copy) / "run.json", record.dump(2) + "\n");
    clear(folder);
    fs::rename(copy, folder);
}

/// The task that said why it failed: this one or one that it stands on; null where none did.
const Task* blamed(const Study& study, const Task& task, const fs::path& folder, std::string& reason) {
    if (result_of(task, folder, true)) return nullptr;
    reason = error_in(log_of(task, folder));
    if (!reason.empty()) return &task;
    for (const auto& id : stands_on(task))
        if (const auto* found = blamed(study, study.task(id), folder, reason)) return found;
    return nullptr;
}

/// Where studies of this user on this host say which GPUs they use.
fs::path lease_of_gpu(const std::string& gpu) {
    const char* folder = std::getenv("XDG_RUNTIME_DIR");
    std::string name = fmt::format("dtk-{}-gpu-{}.lease", ::geteuid(), gpu);
    std::replace(name.begin(), name.end(), '/', '_');
    return (folder && *folder ? fs::path(folder) : fs::temp_directory_path()) / name;
}

constexpr std::uint64_t first_guess = 1 << 30;  // of what a task holds in memory, while none has ended

class Runner {
 public:
    Runner(const Study& study, const StudyRequest& request)
        : study_(study), request_(request), program_(boost::dll::program_location().string()) {
        // Trainings are dealt out in turn, and whoever trains also measures.
        std::vector<std::string> trainings;
        const auto number_of = [&](const Cell& cell) {
            const auto& task = study.task(cell.task);
            const auto& training = task.needs.empty() ? task.id : task.needs;
            const auto number = std::find(trainings.begin(), trainings.end(), training) - trainings.begin();
            if (number == std::ssize(trainings)) trainings.push_back(training);
            return number;
        };
        std::vector<const Cell*> mine;
        for (const auto& cell : study.cells)
            if (const auto number = number_of(cell);
                !request.part || number % request.part->second == request.part->first - 1)
                mine.push_back(&cell);
        // Seed by seed, so that what is there early compares all arms; then one stream at a time.
        for (const bool alone : {false, true})
            for (const auto seed : study.seeds)
                for (const auto* cell : mine)
                    if (cell->seed == seed && cell->stream.empty() != alone) want(*cell);
    }

    std::size_t run() {
        sweep();
        // What cells have in common, such as what true samples would give, is found by the first that wants it.
        ::setenv(remembering_variable, (request_.folder / "remembered").c_str(), 1);
        const auto total = static_cast<std::int64_t>(waiting_.size() + open_.size());
        if (total == 0) return 0;
        for (const auto* folder : {"tasks", "logs"}) fs::create_directories(request_.folder / folder);
        Progress progress("study", total, request_.progress);
        double touched = monotonic_seconds(), looked = 0;
        bool stopping = false;
        while (!waiting_.empty() || !workers_.empty() || !open_.empty()) {
            for (auto worker = workers_.begin(); worker != workers_.end();)
                if (worker->ended()) {
                    settle(*worker, stopping);
                    worker = workers_.erase(worker);
                } else
                    ++worker;
            if (!stopping && request_.stop()) {
                stopping = true;
                for (auto& worker : workers_) worker.interrupt();
            }
            if (stopping && workers_.empty())
                throw Interrupted(fmt::format("stopped with {} of {} tasks done", done_, total));
            const double now = monotonic_seconds();
            if (now - touched > lease_seconds() / 12) {
                for (auto& worker : workers_) worker.keep();
                for (const auto& [gpu, lease] : gpus_) lease.touch();
                touched = now;
            }
            if (!stopping && (now - looked > 1 || changed_)) {
                changed_ = false;
                settle_choices();
                start_what_can_be();
                looked = now;
            }
            progress.at(static_cast<std::int64_t>(done_ + failed_.size()), [&] {
                return fmt::format("{} at work{}{}", workers_.size(), short_of_memory_ ? ", waiting for memory" : "",
                                   failed_.empty() ? "" : fmt::format("  {} failed", failed_.size()));
            });
            if (!waiting_.empty() || !workers_.empty() || !open_.empty())
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        progress.finish();
        return failed_.size();
    }

 private:
    /// Notes what is not done of a task, after all that it stands on.
    void want(const Task& task) {
        if (finished(task) || std::find(waiting_.begin(), waiting_.end(), &task) != waiting_.end()) return;
        for (const auto& id : stands_on(task)) want(study_.task(id));
        waiting_.push_back(&task);
    }

    /// A cell that is tuned wants what chooses first.
    void want(const Cell& cell) {
        for (const auto& id : cell.tuned) want(study_.task(id));
        if (!cell.tuned.empty() && !choice_of(cell))
            open_.push_back(&cell);
        else
            want(study_.task(cell.tuned.empty() ? cell.task : cell.choices[*choice_of(cell)]));
    }
    std::optional<std::size_t> choice_of(const Cell& cell) const {
        return chosen_value(study_, cell, request_.folder, request_.accept_rebuilt,
                            [&](const Task& task) { return failed_.contains(task.id); });
    }
    /// Cells whose value is chosen by now want the task that has it.
    void settle_choices() {
        for (auto cell = open_.begin(); cell != open_.end();) {
            const auto chosen = choice_of(**cell);
            if (!chosen) {
                ++cell;
                continue;
            }
            const auto& task = study_.task((*cell)->choices[*chosen]);
            done_ += finished(task);
            want(task);
            cell = open_.erase(cell);
        }
    }

    bool finished(const Task& task) const {
        return result_of(task, request_.folder, request_.accept_rebuilt).has_value();
    }

    /// Takes, and so removes, what dead owners of finished work left.
    void sweep() const {
        for (const auto& folder : {request_.folder, request_.folder / "tasks"}) remove_temporaries(folder);
        for (const auto& task : study_.tasks) {
            const auto lease = folder_of(task, request_.folder, false).string() + ".lease";
            if (fs::exists(lease) && result_of(task, request_.folder)) Lease::take(lease);
        }
    }

    void start_what_can_be() {
        short_of_memory_ = false;
        for (auto at = waiting_.begin(); at != waiting_.end() && std::ssize(workers_) < request_.jobs;) {
            const auto& task = **at;
            const auto before = stands_on(task);
            if (finished(task)) {  // by another process
                ++done_;
                at = waiting_.erase(at);
            } else if (std::any_of(before.begin(), before.end(),
                                   [&](const auto& id) { return failed_.contains(id); })) {
                failed_.insert(task.id);
                at = waiting_.erase(at);
            } else if (!std::all_of(before.begin(), before.end(),
                                    [&](const auto& id) { return finished(study_.task(id)); })) {
                ++at;
            } else if (!memory_holds_one_more()) {
                short_of_memory_ = true;
                return;
            } else if (start(task)) {
                at = waiting_.erase(at);
            } else
                ++at;
        }
    }

    /// The GPU with the fewest at work, of those that no other study of this user on this host has; empty where the
    /// study uses none, nothing where others have all of them.
    std::optional<std::string> free_gpu() {
        if (request_.gpus.empty()) return std::string();
        const auto at_work = [&](const std::string& gpu) {
            return std::count_if(workers_.begin(), workers_.end(),
                                 [&](const Worker& worker) { return worker.gpu == gpu; });
        };
        std::erase_if(gpus_, [&](const auto& held) { return at_work(held.first) == 0; });
        auto order = request_.gpus;
        std::stable_sort(order.begin(), order.end(),
                         [&](const auto& a, const auto& b) { return at_work(a) < at_work(b); });
        for (const auto& gpu : order) {
            if (gpus_.contains(gpu)) return gpu;
            if (auto lease = Lease::take(lease_of_gpu(gpu))) return gpus_.emplace(gpu, std::move(*lease)).first->first;
        }
        return std::nullopt;
    }

    bool memory_holds_one_more() const {
        const auto left = memory_left();
        std::vector<std::uint64_t> held;
        for (const auto& worker : workers_) held.push_back(worker.memory());
        auto most = most_held_ > 0 ? most_held_ : first_guess;
        for (const auto bytes : held) most = std::max(most, bytes);
        return !left || memory_holds_another(*left, most, held);
    }

    bool start(const Task& task) {
        const auto folder = folder_of(task, request_.folder, false);
        auto lease = Lease::take(folder.string() + ".lease");
        if (!lease) return false;
        // The worker of a runner that was killed dies with it, and may take a moment; so may somebody who runs the cell
        // by hand.
        if (Lease::held(folder / "run.lease")) return false;
        if (result_of(task, request_.folder)) {  // finished between the look and the lease
            ++done_;
            return true;
        }
        const auto gpu = free_gpu();
        if (!gpu) return false;
        const auto file = folder.string() + ".toml";
        write_atomically(file, task.text);
        Job job;
        if (task.what == Task::What::measure) {
            clear(folder);
            const auto trained = folder_of(study_.task(task.needs), request_.folder, request_.accept_rebuilt);
            job = SampleRequest{.run = trained, .overrides = {.set = task.set}, .out = folder};
        } else {
            const bool begun = read_json(folder / "run.json").is_object();
            if (!begun && !task.goes_on.empty())
                begin_with(folder_of(study_.task(task.goes_on), request_.folder, request_.accept_rebuilt), folder);
            RunRequest run{.file = file};
            if (begun || !task.goes_on.empty()) {
                run.resume = folder.string();
            } else {
                clear(folder);
                run.out = folder;
            }
            job = std::move(run);
        }
        std::visit(
            [&](auto& request) {
                request.progress = Progress::Mode::none;
                for (const auto& [name, id] : task.stands_on)
                    request.overrides.artefacts.push_back(
                        name + "=" + folder_of(study_.task(id), request_.folder, request_.accept_rebuilt).string());
            },
            job);
        workers_.emplace_back(task, std::move(*lease), job, program_, request_.engine, log_of(task, request_.folder),
                              *gpu);
        return true;
    }

    void settle(const Worker& worker, bool stopping) {
        const auto& task = *worker.task;
        changed_ = true;
        most_held_ = std::max(most_held_, worker.memory());
        if (result_of(task, request_.folder)) {
            ++done_;
        } else if (worker.lost()) {
            waiting_.push_back(&task);
        } else {
            failed_.insert(task.id);
            const auto log = log_of(task, request_.folder);
            if (!stopping && error_in(log).empty()) append_line(log, "error: " + worker.ending());
        }
    }

    const Study& study_;
    const StudyRequest& request_;
    std::string program_;
    std::vector<const Task*> waiting_;
    std::vector<const Cell*> open_;  ///< that are tuned, and whose value is not chosen yet
    std::vector<Worker> workers_;
    std::map<std::string, Lease> gpus_;  ///< those that workers use, held against other studies
    std::set<std::string> failed_;
    std::size_t done_ = 0;
    std::uint64_t most_held_ = 0;  ///< by a task that has ended
    bool changed_ = true, short_of_memory_ = false;
};

}  // namespace

fs::path task_folder(const fs::path& study, const std::string& id, bool accept_rebuilt) {
    const auto own = study / "tasks" / id;
    std::error_code ignored;
    if (!accept_rebuilt || fs::exists(own / "run.json", ignored) || fs::exists(own / "result.json", ignored))
        return own;
    for (const auto& entry : fs::directory_iterator(study / "tasks", ignored))
        if (entry.is_directory(ignored) && entry.path().filename().string().starts_with(id.substr(0, id.find('-') + 1)))
            return entry.path();
    return own;
}

std::string error_in(const fs::path& log) {
    std::ifstream in(log);
    std::string line, error;
    while (std::getline(in, line))
        if (line.starts_with("error: ")) error = line.substr(7);
    return error;
}

std::optional<json> result_of(const Task& task, const fs::path& folder, bool accept_rebuilt) {
    return finished_result(folder_of(task, folder, accept_rebuilt));
}

std::string failure_of(const Study& study, const Task& task, const fs::path& folder) {
    std::string reason;
    const auto* failed = blamed(study, task, folder, reason);
    return !failed                 ? std::string()
           : failed->first.empty() ? reason
                                   : fmt::format("`{}`, on which it stands, failed: {}", failed->first, reason);
}

std::string command_of(const Study& study, const Task& task, const fs::path& folder) {
    std::string ignored;
    const auto* failed = blamed(study, task, folder, ignored);
    const auto& again = failed ? *failed : task;
    std::vector<std::string> words{"dtk", "run", folder_of(again, folder, false).string() + ".toml"};
    for (const auto& [name, id] : again.stands_on)
        words.insert(words.end(), {"--artefact", name + "=" + folder_of(study.task(id), folder, true).string()});
    return shell_command(words);
}

std::size_t run_study(const Study& study, const StudyRequest& request) { return Runner(study, request).run(); }

}  // namespace dtk
