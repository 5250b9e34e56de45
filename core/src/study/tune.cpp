// Every arm at its own best: which value of [ablation.tune] its trainings are reported with.
#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "study/results.hpp"

namespace dtk {

std::optional<std::size_t> chosen_value(const Study& study, const Cell& cell, const std::filesystem::path& folder,
                                        bool accept_rebuilt, const std::function<bool(const Task&)>& has_failed) {
    std::size_t best = 0;
    double least = INFINITY;
    for (std::size_t value = 0; value < cell.tuned.size(); ++value) {
        const auto& task = study.task(cell.tuned[value]);
        const auto result = result_of(task, folder, accept_rebuilt);
        if (!result && !has_failed(task)) return std::nullopt;
        for (const auto& m : result ? measured_in(*result) : std::vector<Measured>{}) {
            const auto score = score_of(m);
            if (m.metric != study.tune->metric || score.state != CellScore::State::finite) continue;
            const double shortfall = m.better == Better::more ? -score.compared : score.compared;
            if (shortfall < least) least = shortfall, best = value;
        }
    }
    return best;
}

void choose_tuned(Study& study, const std::filesystem::path& folder, bool accept_rebuilt) {
    for (auto& cell : study.cells) {
        if (cell.tuned.empty()) continue;
        cell.chosen = chosen_value(study, cell, folder, accept_rebuilt,
                                   [&](const Task& task) { return !failure_of(study, task, folder).empty(); });
        cell.task = cell.choices[cell.chosen.value_or(0)];
    }
}

std::vector<const Task*> needed_tasks(const Study& study) {
    std::vector<const Task*> needed;
    const std::function<void(const std::string&)> add = [&](const std::string& id) {
        const auto& task = study.task(id);
        if (std::find(needed.begin(), needed.end(), &task) != needed.end()) return;
        for (const auto& [name, other] : task.stands_on) add(other);
        for (const auto& other : {task.needs, task.goes_on})
            if (!other.empty()) add(other);
        needed.push_back(&task);
    };
    for (const auto& cell : study.cells) {
        for (const auto& id : cell.tuned) add(id);
        add(cell.task);
    }
    return needed;
}

}  // namespace dtk
