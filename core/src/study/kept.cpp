// A study as its folder keeps it.
#include "study/kept.hpp"

#include <cmath>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/words.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

constexpr const char* whats[] = {"train", "measure", "both"};

json task_json(const Task& task) {
    return {{"what", whats[static_cast<int>(task.what)]},
            {"id", task.id},
            {"config", task.config},
            {"text", task.text},
            {"set", task.set},
            {"needs", task.needs},
            {"goes_on", task.goes_on},
            {"stands_on", task.stands_on},
            {"first", task.first}};
}

Task task_of(const json& one) {
    const auto what = one.at("what").get<std::string>();
    Task task{.what = what == whats[0] ? Task::What::train : what == whats[1] ? Task::What::measure : Task::What::both};
    task.id = one.at("id");
    task.config = one.at("config");
    task.text = one.at("text");
    task.set = one.at("set").get<std::vector<std::string>>();
    task.needs = one.at("needs");
    task.goes_on = one.at("goes_on");
    task.stands_on = one.at("stands_on").get<std::map<std::string, std::string>>();
    task.first = one.at("first");
    return task;
}

json search_json(const Search& search) {
    json all{{"rungs", search.rungs}, {"eta", search.eta},     {"seeds", search.seeds}, {"fresh", search.fresh},
             {"arms", search.arms},   {"steps", search.steps}, {"done", json::array()}};
    for (const auto& rung : search.done) {
        json means = json::array();
        for (const double mean : rung.means) means.push_back(json_number(mean));
        all["done"].push_back({{"steps", rung.steps}, {"arms", rung.arms}, {"means", means}, {"kept", rung.kept}});
    }
    return all;
}

Search search_of(const json& all) {
    Search search{.rungs = all.at("rungs"),
                  .eta = all.at("eta"),
                  .seeds = all.at("seeds").get<std::vector<std::int64_t>>(),
                  .fresh = all.at("fresh").get<std::vector<std::int64_t>>(),
                  .arms = all.at("arms").get<std::vector<std::string>>(),
                  .steps = all.at("steps")};
    for (const auto& one : all.at("done")) {
        auto& rung = search.done.emplace_back();
        rung.steps = one.at("steps");
        rung.arms = one.at("arms").get<std::vector<std::string>>();
        rung.kept = one.at("kept").get<std::vector<std::string>>();
        for (const auto& mean : one.at("means")) rung.means.push_back(number_of(mean).value_or(NAN));
        if (rung.means.size() != rung.arms.size()) throw std::out_of_range("a rung's means are not its arms'");
    }
    if (search.eta < 2 || search.rungs < 1 || search.done.size() > search.rungs || search.arms.empty())
        throw std::out_of_range("no search");
    return search;
}

/// What decides the comparisons. Seeds that `until` adds are planned.
json plan_of(const Study& study) {
    json arms = json::array();
    for (const auto& arm : study.arms) arms.push_back(arm.name);
    if (study.search) arms = study.search->arms;
    json seeds = study.until_decided ? json("until decided") : json(study.seeds);
    if (study.search) seeds = {{"search", study.search->seeds}, {"fresh", study.search->fresh}};
    json plan{{"baseline", study.arms[study.baseline].name},
              {"metric", study.metrics.front()},
              {"arms", arms},
              {"seeds", seeds},
              {"level", study.level},
              {"compare", study.all_pairs ? "pairs" : "baseline"},
              {"confirm", study.confirm},
              {"smallest", study.smallest.value},
              {"smallest_is_a_share", study.smallest.relative}};
    if (!study.vary.empty()) plan["vary"] = study.vary;
    if (study.tune) plan["tune"] = {study.tune->key, study.tune->values, study.tune->metric};
    return plan;
}

std::string now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace

json study_json(const Study& study) {
    json all{{"file", study.file.string()},
             {"name", study.name},
             {"question", study.question},
             {"text", study.text},
             {"baseline", study.baseline},
             {"seeds", study.seeds},
             {"sample_seeds", study.sample_seeds},
             {"vary", study.vary},
             {"one_at_a_time", study.one_at_a_time},
             {"metrics", study.metrics},
             {"level", study.level},
             {"all_pairs", study.all_pairs},
             {"confirm", study.confirm},
             {"smallest", {{"value", study.smallest.value}, {"relative", study.smallest.relative}}},
             {"until_decided", study.until_decided},
             {"limit", study.limit},
             {"first_seeds", study.first_seeds},
             {"axes", json::array()},
             {"arms", json::array()},
             {"tasks", json::array()},
             {"cells", json::array()}};
    if (study.tune)
        all["tune"] = {{"key", study.tune->key},
                       {"metric", study.tune->metric},
                       {"values", study.tune->values},
                       {"seed", study.tune->seed}};
    if (study.search) all["search"] = search_json(*study.search);
    for (const auto& axis : study.axes) all["axes"].push_back({{"key", axis.key}, {"values", axis.values}});
    for (const auto& arm : study.arms)
        all["arms"].push_back({{"name", arm.name}, {"set", arm.set}, {"levels", arm.levels}});
    for (const auto& task : study.tasks) all["tasks"].push_back(task_json(task));
    for (const auto& cell : study.cells) {
        json one{{"arm", study.arms[cell.arm].name},
                 {"seed", cell.seed},
                 {"task", cell.task},
                 {"needs", study.task(cell.task).needs}};
        if (cell.sample_seed) one["sample_seed"] = *cell.sample_seed;
        if (!cell.stream.empty()) one["stream"] = cell.stream;
        if (!cell.tuned.empty()) one["tuned"] = cell.tuned, one["choices"] = cell.choices;
        if (cell.chosen) one["chosen"] = *cell.chosen;
        all["cells"].push_back(std::move(one));
    }
    return all;
}

Study kept_study(const fs::path& folder) {
    const auto file = folder / "study.json";
    const auto all = read_json(file);
    if (!all.is_object())
        throw UserError(fmt::format("{} is {}", file.string(), fs::exists(file) ? "damaged" : "not there"),
                        "the same `dtk run` as before writes it anew");
    try {
        Study study;
        study.file = all.at("file").get<std::string>();
        study.name = all.at("name");
        study.question = all.at("question");
        study.text = all.at("text");
        study.baseline = all.at("baseline");
        study.seeds = all.at("seeds").get<std::vector<std::int64_t>>();
        study.sample_seeds = all.at("sample_seeds").get<std::vector<std::int64_t>>();
        study.vary = all.at("vary").get<std::vector<std::string>>();
        study.one_at_a_time = all.at("one_at_a_time");
        study.metrics = all.at("metrics").get<std::vector<std::string>>();
        study.level = all.at("level");
        study.all_pairs = all.at("all_pairs");
        study.confirm = all.at("confirm");
        study.smallest = {all.at("smallest").at("value"), all.at("smallest").at("relative")};
        study.until_decided = all.at("until_decided");
        study.limit = all.at("limit");
        study.first_seeds = all.at("first_seeds");
        if (const auto tune = all.find("tune"); tune != all.end())
            study.tune = Tuning{tune->at("key"), tune->at("metric"), tune->at("values").get<std::vector<std::string>>(),
                                tune->at("seed")};
        if (const auto search = all.find("search"); search != all.end()) study.search = search_of(*search);
        for (const auto& axis : all.at("axes"))
            study.axes.push_back({axis.at("key"), axis.at("values").get<std::vector<std::string>>()});
        std::map<std::string, std::size_t> arms;
        for (const auto& arm : all.at("arms")) {
            arms[arm.at("name")] = study.arms.size();
            study.arms.push_back({arm.at("name"), arm.at("set").get<std::vector<std::string>>(),
                                  arm.at("levels").get<std::vector<std::size_t>>()});
        }
        for (const auto& task : all.at("tasks")) study.tasks.push_back(task_of(task));
        for (const auto& cell : all.at("cells")) {
            const auto draw = cell.find("sample_seed");
            const auto ids = [&](const char* key) { return cell.value(key, std::vector<std::string>{}); };
            study.cells.push_back(
                {.arm = arms.at(cell.at("arm")),
                 .seed = cell.at("seed"),
                 .sample_seed = draw == cell.end() ? std::nullopt : std::optional(draw->get<std::int64_t>()),
                 .task = cell.at("task"),
                 .tuned = ids("tuned"),
                 .choices = ids("choices"),
                 .stream = cell.value("stream", std::string())});
            const auto place = study.place_of(study.cells.back());
            const auto is_task = [&](const std::string& id) {
                return std::any_of(study.tasks.begin(), study.tasks.end(),
                                   [&](const Task& task) { return task.id == id; });
            };
            const auto &tuned = study.cells.back().tuned, &choices = study.cells.back().choices;
            const bool known = is_task(study.cells.back().task) && tuned.size() == choices.size() &&
                               tuned.empty() != study.tune.has_value() &&
                               std::all_of(tuned.begin(), tuned.end(), is_task) &&
                               std::all_of(choices.begin(), choices.end(), is_task);
            const auto& stream = study.cells.back().stream;
            const bool varied =
                stream.empty() ||
                (study.one_at_a_time && std::find(study.vary.begin(), study.vary.end(), stream) != study.vary.end());
            if (place >= study.cells_of_arm() || !known || !varied)
                throw std::out_of_range("a cell of no seed, stream or task");
        }
        if (study.baseline >= study.arms.size() || study.metrics.empty() || study.seeds.empty())
            throw std::out_of_range("no arm, metric or seed");
        choose_tuned(study, folder, true);
        return study;
    } catch (const std::exception&) {
        throw UserError(fmt::format("{} is damaged, or was written by an older dtk", file.string()),
                        "the same `dtk run` as before writes it anew");
    }
}

void keep_study(const Study& study, const fs::path& folder, const json& request, std::size_t done) {
    auto all = study_json(study);
    all.update(request);
    const auto before = read_json(folder / "study.json");
    all["plans"] = before.is_object() ? before.value("plans", json::array()) : json::array();
    auto& plans = all["plans"];
    if (!plans.is_array()) plans = json::array();
    const auto plan = plan_of(study);
    if (plans.empty() || plans.back().value("plan", json()) != plan)
        plans.push_back({{"time", now()}, {"cells_done", done}, {"plan", plan}});
    write_atomically(folder / "study.json", all.dump(2) + "\n");
}

std::vector<std::string> chosen_afterwards(const fs::path& folder) {
    const auto all = read_json(folder / "study.json");
    std::vector<std::string> sentences;
    if (!all.is_object() || !all.contains("plans") || !all["plans"].is_array()) return sentences;
    // The plan that counts is the last one that was made before there was any result.
    json first, last;
    std::int64_t done = 0;
    for (const auto& one : all["plans"]) {
        if (!one.is_object()) continue;
        const auto by_then = number_of(one.value("cells_done", json())).value_or(0);
        last = one.value("plan", json::object());
        if (by_then == 0 || first.is_null()) first = last;
        if (by_then > 0 && done == 0) done = static_cast<std::int64_t>(by_then);
    }
    if (first.is_null() || first == last) return sentences;
    for (const auto& [key, what] :
         {std::pair{"baseline", "the baseline"}, std::pair{"metric", "the first metric"},
          std::pair{"seeds", "the seeds"}, std::pair{"vary", "which streams follow them"},
          std::pair{"tune", "what is tuned"}, std::pair{"arms", "the arms"}, std::pair{"level", "the level"},
          std::pair{"compare", "what is compared"}, std::pair{"confirm", "which metrics are confirmatory"},
          std::pair{"smallest", "the least difference that matters"}})
        if (first.value(key, json()) != last.value(key, json()))
            sentences.push_back(
                fmt::format("chosen when {} cells were done: {} (planned {}, now {}); the verdicts are "
                            "exploratory",
                            done, what, first.value(key, json()).dump(), last.value(key, json()).dump()));
    return sentences;
}

}  // namespace dtk
