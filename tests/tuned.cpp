// The value that tuning chooses: by the metric it was asked to go by, in that metric's direction, of what has ended.
#include <fstream>
#include <limits>

#include <nlohmann/json.hpp>

#include "base/json.hpp"
#include "catch.hpp"
#include "folder.hpp"
#include "study/results.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

/// A cell with one task for each value, and what those tasks gave.
struct Tuned {
    Folder folder;
    dtk::Study study;
    dtk::Cell cell{.arm = 0, .seed = 0, .sample_seed = {}, .task = {}};

    explicit Tuned(const std::string& metric) {
        study.tune = dtk::Tuning{.key = "sampler.eta", .metric = metric, .values = {}};
        fs::create_directories(folder / "logs");
    }

    /// A value, and the task that reports it; without metrics its task has not ended.
    void add(const json& metrics = {}) {
        const auto id = "value" + std::to_string(cell.tuned.size()) + "-0";
        for (const auto& [which, list] : {std::pair{"", &cell.tuned}, std::pair{"reported-", &cell.choices}}) {
            dtk::Task task{};
            task.id = which + id;
            study.tasks.push_back(task);
            list->push_back(task.id);
        }
        if (metrics.is_null()) return;
        fs::create_directories(folder / "tasks" / id);
        std::ofstream(folder / "tasks" / id / "result.json") << json{{"metrics", metrics}}.dump();
    }

    std::optional<std::size_t> choice(std::size_t failed = std::numeric_limits<std::size_t>::max()) const {
        return dtk::chosen_value(study, cell, folder.path, false, [&](const dtk::Task& task) {
            return failed < cell.tuned.size() && task.id == cell.tuned[failed];
        });
    }
};

json measured(const std::string& metric, double value, const std::string& better) {
    return {{"metric", metric},   {"value", dtk::json_number(value)},
            {"better", better},   {"expected", 2},
            {"expected_sd", 0.1}, {"note", ""}};
}

json both(double error, double bound) {
    return json::array({measured("error", error, "less"), measured("bound", bound, "more")});
}

}  // namespace

TEST_CASE("tuning goes by its metric, whether less of it is better or more") {
    for (const auto& [metric, best] : {std::pair{"error", 1u}, std::pair{"bound", 2u}}) {
        Tuned tuned(metric);
        tuned.add(both(3, 1));
        tuned.add(both(1, -5));
        tuned.add(both(2, 4));
        CHECK(tuned.choice() == best);
    }
    // What is to be near 2 may be above or below it.
    Tuned nearest("nll");
    for (const double value : {3.0, 1.7, 0.0, 2.4}) nearest.add(json::array({measured("nll", value, "nearest")}));
    CHECK(nearest.choice() == 1u);
}

TEST_CASE("of values that are as good the first is taken, and of those without a number none") {
    Tuned tuned("error");
    tuned.add(both(std::numeric_limits<double>::infinity(), 0));
    tuned.add(both(2, 0));
    tuned.add(both(2, 0));
    CHECK(tuned.choice() == 1u);
    tuned.add(both(-1, 0));
    CHECK(tuned.choice() == 3u);
    Tuned none("error");
    none.add(both(std::numeric_limits<double>::infinity(), 0));
    none.add(both(std::nan(""), 0));
    CHECK(none.choice() == 0u);
}

TEST_CASE("nothing is chosen before all values have ended, and one that failed is the worst") {
    Tuned tuned("error");
    tuned.add(both(5, 0));
    tuned.add();
    CHECK_FALSE(tuned.choice());
    CHECK(tuned.choice(1) == 0u);
    // The cell then is the task that reports the chosen value; an open one stands at the first.
    auto study = tuned.study;
    study.cells = {tuned.cell};
    dtk::choose_tuned(study, tuned.folder.path, false);
    CHECK_FALSE(study.cells[0].chosen);
    CHECK(study.cells[0].task == "reported-value0-0");
    std::ofstream(tuned.folder / "logs" / "value1-0.log") << "error: it went wrong\n";
    tuned.add(both(1, 0));
    study = tuned.study;
    study.cells = {tuned.cell};
    dtk::choose_tuned(study, tuned.folder.path, false);
    CHECK(study.cells[0].chosen == 2u);
    CHECK(study.cells[0].task == "reported-value2-0");
    // What was not chosen is not needed; what chose is.
    std::vector<std::string> needed;
    for (const auto* task : dtk::needed_tasks(study)) needed.push_back(task->id);
    CHECK(needed == std::vector<std::string>{"value0-0", "value1-0", "value2-0", "reported-value2-0"});
}
