// Plans the tasks of a study: what is to be trained, what is measured of it, and what each of them depends on.
#include "study/planner.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/build.hpp"
#include "base/files.hpp"
#include "base/toml.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

std::string hash_of_files(std::vector<fs::path> files) {
    static std::map<fs::path, std::string> known;
    std::sort(files.begin(), files.end());
    files.erase(std::unique(files.begin(), files.end()), files.end());
    std::string all;
    for (const auto& file : files) {
        auto& hash = known[file];
        if (hash.empty()) hash = sha256_of_file(file);
        all += hash;
    }
    return sha256(all);
}

/// Does the part have no say in training?
bool of_sampling(const StagePart& part) {
    return part.when == StagePart::When::sampling || std::string_view(part.kind) == "metric";
}

/// The tables of a stage that have no say in training.
std::vector<std::string> sampling_tables() {
    std::vector<std::string> tables{"sample"};
    for (const auto& part : stage_parts)
        if (of_sampling(part)) tables.emplace_back(part.kind);
    return tables;
}

/// Leaves one metric of those that an experiment measures.
void keep_metric(toml::table& whole, const std::string& metric) {
    auto* list = whole.get_as<toml::array>("metric");
    for (std::size_t i = list ? list->size() : 0; i-- > 0;) {
        const auto& one = *list->get_as<toml::table>(i);
        if (one["name"].value_or(one["use"].value_or(std::string())) != metric)
            list->erase(list->begin() + static_cast<std::ptrdiff_t>(i));
    }
}

/// What makes the result of a whole stage: dtk itself and the plugins that it names.
std::vector<fs::path> files_of(const StageSpec& stage) {
    auto files = files_of_dtk();
    for (const auto& part : stage_parts)
        for (const auto& plugin : stage.list(part.kind)) files.push_back(plugin.file->file);
    for (const auto* file : stage.reading->chosen) files.push_back(file->file);
    return files;
}

}  // namespace

void Planner::add_first(const Experiment& experiment, const std::string& data) {
    const auto& stage = experiment.stages.front();
    const auto whole = toml::parse(experiment.resolved());
    first_[experiment.name] = add({.what = Task::What::both,
                                   .text = toml_text(whole),
                                   .stands_on = named_in(stage.reading->references, experiment, 0, data),
                                   .first = experiment.name},
                                  data, files_of(stage));
}

std::string Planner::add_rung(const Experiment& experiment, const std::string& data, const std::string& goes_on) {
    return add_training(experiment, 0, data, goes_on);
}

std::string Planner::add_whole(const Experiment& experiment, const std::string& data) {
    std::vector<fs::path> files;
    for (const auto& stage : experiment.stages)
        for (auto& file : files_of(stage)) files.push_back(std::move(file));
    return add({.what = Task::What::both, .text = experiment.resolved()}, data, std::move(files));
}

std::string Planner::add_cell(const Experiment& experiment, const std::string& data, const std::string& metric,
                              const std::string& goes_on) {
    const auto number = experiment.stages.size() - 1;
    const auto& stage = experiment.stages[number];
    auto whole = toml::parse(experiment.resolved(stage));
    if (!metric.empty()) keep_metric(whole, metric);
    auto stands_on = named_in(stage.reading->references, experiment, number, data);
    if (!stage.train || (!stage.sample && stage.list("metric").empty()))
        return add({.what = Task::What::both, .text = toml_text(whole), .stands_on = std::move(stands_on)}, data,
                   files_of(stage));
    std::vector<std::string> set;
    for (const auto& name : sampling_tables())
        if (const auto* node = whole.get(name)) set.push_back(fmt::format("{}={}", name, toml_value(*node)));
    auto needs = add_training(experiment, number, data, goes_on);
    return add({.what = Task::What::measure,
                .text = toml_text(whole),
                .set = std::move(set),
                .needs = std::move(needs),
                .stands_on = std::move(stands_on)},
               data, files_of(stage));
}

std::string Planner::add_training(const Experiment& experiment, std::size_t number, const std::string& data,
                                  const std::string& goes_on) {
    const auto& stage = experiment.stages[number];
    auto training = toml::parse(experiment.resolved(stage));
    for (const auto& name : sampling_tables()) training.erase(name);
    auto files = files_of_dtk();
    for (const auto& part : stage_parts)
        if (!of_sampling(part))
            for (const auto& plugin : stage.list(part.kind)) files.push_back(plugin.file->file);
    for (const auto* file : stage.trained_with) files.push_back(file->file);
    return add({.what = Task::What::train,
                .text = toml_text(training),
                .goes_on = goes_on,
                .stands_on = named_in(stage.training_references, experiment, number, data)},
               data, std::move(files));
}

std::map<std::string, std::string> Planner::named_in(const std::set<std::string>& references,
                                                     const Experiment& experiment, std::size_t number,
                                                     const std::string& data) {
    std::map<std::string, std::string> named;
    for (std::size_t i = 0; i < number; ++i)
        if (const auto& earlier = experiment.stages[i]; earlier.train && references.contains(earlier.name))
            named[earlier.name] = add_training(experiment, i, data);
    for (const auto& [name, id] : first_)
        if (references.contains(name)) named.emplace(name, id);
    return named;
}

std::string Planner::add(Task task, const std::string& data, std::vector<fs::path> files) {
    auto what = task.text + data + fmt::format("{}", fmt::join(task.set, "\n")),
         made_by = hash_of_files(std::move(files));
    const auto stand_on = [&](const std::string& name, const std::string& id) {
        what += name + study_.task(id).config, made_by += id;
    };
    if (!task.needs.empty()) stand_on("", task.needs);
    if (!task.goes_on.empty()) stand_on("goes on", task.goes_on);
    for (const auto& [name, id] : task.stands_on) stand_on(name, id);
    task.config = sha256(what).substr(0, 16);
    task.id = task.config + "-" + sha256(made_by).substr(0, 8);
    const auto there =
        std::find_if(study_.tasks.begin(), study_.tasks.end(), [&](const Task& known) { return known.id == task.id; });
    if (there == study_.tasks.end()) study_.tasks.push_back(task);
    return task.id;
}

}  // namespace dtk
