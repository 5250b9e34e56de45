#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "study/study.hpp"

namespace dtk {

using json = nlohmann::json;

namespace {

/// Tasks that do the same kind of work, and so take about as long.
struct RunGroup {
    double seconds = 0;
    std::size_t timed = 0, waiting = 0;
};

/// How long what is left will take, as far as tasks of its kind have been timed.
std::string time_estimate(const std::vector<RunGroup>& groups, std::int64_t jobs) {
    double seconds = 0;
    std::size_t waiting = 0, unknown = 0;
    for (const auto& group : groups) {
        waiting += group.waiting;
        if (group.timed > 0)
            seconds += group.seconds / static_cast<double>(group.timed) * static_cast<double>(group.waiting);
        else
            unknown += group.waiting;
    }
    if (waiting == 0) return "nothing is left to do\n";
    if (unknown == waiting) return "how long it takes is known once a task of each kind is done\n";
    return fmt::format(
        "about {:.0f} seconds to go, {} at a time, as long as those that are done{}\n",
        seconds / static_cast<double>(jobs), jobs,
        unknown == 0 ? "" : fmt::format("; besides {} tasks of a kind of which none is done yet", unknown));
}

}  // namespace

std::string plan_text(const Study& study, const std::filesystem::path& folder, std::int64_t jobs, bool accept_rebuilt) {
    std::string text;
    std::vector<RunGroup> groups(4);
    std::size_t done = 0;
    const auto tasks = needed_tasks(study);
    for (const auto* one : tasks) {
        const auto& task = *one;
        const auto result = result_of(task, folder, accept_rebuilt);
        if (!task.first.empty()) text += fmt::format("{:<8}  first      {}\n", result ? "done" : "to do", task.first);
        auto& group = groups[task.first.empty() ? static_cast<std::size_t>(task.what) : 3];
        if (!result) {
            ++group.waiting;
            continue;
        }
        ++done;
        const auto seconds = result->value("seconds", json::object());
        for (const auto& [what, value] : seconds.items()) group.seconds += value.get<double>();
        group.timed += !seconds.empty();
    }
    for (const auto& cell : study.cells)
        text += fmt::format(
            "{:<8}  seed {:<4}  {}{}\n", result_of(study.task(cell.task), folder, accept_rebuilt) ? "done" : "to do",
            cell.seed, study.arms[cell.arm].name, cell.stream.empty() ? "" : fmt::format(", {} alone", cell.stream));
    return text +
           fmt::format(
               "\n{} arms × {} seeds = {} cells; {} of {} tasks done (a training that several cells share is one "
               "task)\n",
               study.arms.size(), study.seeds.size(), study.cells.size(), done, tasks.size()) +
           (study.search ? "the first rung of a search: " + study.search->text() + "\n" : std::string()) +
           time_estimate(groups, jobs);
}

}  // namespace dtk
