// Reads a study from its file, checks every arm and plans what there is to do.
#include "study/study.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/build.hpp"
#include "base/files.hpp"
#include "base/names.hpp"
#include "base/words.hpp"
#include "study/statistics.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// What changes from arm to arm: one key, or several that change together.
struct Axis {
    std::vector<std::string> keys;
    std::vector<std::vector<std::string>> values = {};     ///< for each value of the axis one TOML value for each key
    std::vector<std::vector<SourceLocation>> places = {};  ///< where those stand
    std::vector<std::string> names = {};
};

struct AblationSettings {
    std::string question, baseline;
    std::vector<std::int64_t> seeds{0, 1, 2, 3, 4}, sample_seeds;
    std::vector<std::string> metrics, first;
    double level = 0.95;
    std::string compare = "baseline", confirm = "first", smallest, until = "all";
    std::int64_t limit = 20;
    bool seeds_are_a_list = true;
    void fields(Fields& f) {
        f("question", question, "what the study is to answer, for its report");
        f("baseline", baseline, "the arm that the others are compared with; otherwise the first");
        if (seeds_are_a_list) f("seeds", seeds, at_least(0), "every arm runs with each of them");
        f("metrics", metrics, "those that count, the first above all; otherwise all of the experiment's");
        f("first", first,
          "experiments that train what all arms stand on, each run once; fields name their networks by the "
          "experiments' names");
        f("level", level, inside(0, 1), "of the intervals");
        f("compare", compare, {"baseline", "pairs"}, "with the baseline, or every arm with every other");
        f("confirm", confirm, {"first", "all"},
          "the metrics whose comparisons hold together: the first, the others being exploratory, or all");
        f("smallest", smallest, "the least difference that matters: \"1%\" of the baseline's mean, or \"0.02\"");
        f("until", until, {"all", "decided"},
          "run the seeds that are given, or add more until the first metric's comparisons are decided");
        f("limit", limit, in(2, 1000), "with until = \"decided\": the most seeds");
    }
};

/// A value as an arm is named by it: text bare, a plugin's table by its name and fields.
std::string short_name(const std::string& key, const toml::node& value) {
    if (const auto* table = value.as_table()) {
        std::string name;
        if (const auto* use = table->get("use"); use && use->is_string()) name = use->as_string()->get();
        for (auto&& [field, node] : *table)
            if (field.str() != "use")
                name += fmt::format("{}{}={}", name.empty() ? "" : " ", field.str(), toml_value(node));
        return name;
    }
    const auto text = value.is_string() ? value.as_string()->get() : toml_value(value);
    const auto last = key.substr(key.rfind('.') + 1);
    return last == "use" ? text : fmt::format("{}={}", last == "steps" ? key : last, text);
}

std::vector<std::string> texts(const toml::node* node) {
    std::vector<std::string> all;
    if (const auto* text = node ? node->as_string() : nullptr) all.push_back(text->get());
    if (const auto* array = node ? node->as_array() : nullptr)
        for (const auto& one : *array)
            if (one.is_string()) all.push_back(one.as_string()->get());
    return all;
}

/// What can be read of an axis; nothing where it does not say what varies.
std::optional<Axis> read_axis(const toml::table& table, Diagnostics& mistakes) {
    const auto wrong = [&](const char* what) {
        mistakes.add(place_of(table.source()), what,
                     "write for example\n    [[ablation.axis]]\n    key = \"schedule.use\"\n    values = [\"linear\", "
                     "\"cosine\"]");
    };
    for (auto&& [key, node] : table)
        if (key.str() != "key" && key.str() != "keys" && key.str() != "values" && key.str() != "names")
            mistakes.add(place_of(key.source()), fmt::format("an axis has no key `{}`", key.str()),
                         "it has key or keys, values and names");
    const bool zipped = table.contains("keys");
    Axis axis{.keys = texts(table.get(zipped ? "keys" : "key"))};
    const auto given = texts(table.get("names"));
    const auto* values = table.get_as<toml::array>("values");
    const bool has_keys = !axis.keys.empty() && table.contains("key") != zipped,
               has_values = values && !values->empty();
    if (!has_keys) wrong("an axis needs a `key`, or several `keys` that change together");
    if (!has_values) wrong("an axis needs a list of `values`");
    if (!has_keys || !has_values) return std::nullopt;
    if (!given.empty() && given.size() != values->size()) wrong("an axis has as many `names` as `values`, or none");
    for (std::size_t v = 0; v < values->size(); ++v) {
        const auto& value = *values->get(v);
        const auto* row = zipped ? value.as_array() : nullptr;
        if (zipped && (!row || row->size() != axis.keys.size())) {
            mistakes.add(
                place_of(value.source()),
                fmt::format("a value of this axis is a list of {}, one for each of its keys", axis.keys.size()));
            continue;
        }
        std::vector<std::string> of_keys, name;
        std::vector<SourceLocation> places;
        for (std::size_t i = 0; i < axis.keys.size(); ++i) {
            const auto& one = zipped ? (*row)[i] : value;
            of_keys.push_back(toml_value(one));
            places.push_back(place_of(one));
            name.push_back(short_name(axis.keys[i], one));
        }
        axis.values.push_back(of_keys);
        axis.places.push_back(places);
        axis.names.push_back(given.size() == values->size() ? given[v] : fmt::format("{}", fmt::join(name, " ")));
    }
    if (axis.values.empty()) return std::nullopt;
    return axis;
}

/// A key and its value in one of the ways they can be written: a plugin's name may stand as a text, by `use` or in a
/// table.
std::string canonical(std::string key, std::string value) {
    if (key.ends_with(".use")) return key.substr(0, key.size() - 4) + "={use = " + value + "}";
    return key + "=" + (value.starts_with('"') ? "{use = " + value + "}" : value);
}

/// Every combination of the axes' values but those that are excluded.
std::vector<Arm> arms_of(const std::vector<Axis>& axes, const toml::array* excluded) {
    std::vector<Arm> arms{{}};
    for (const auto& axis : axes) {
        std::vector<Arm> more;
        for (const auto& arm : arms)
            for (std::size_t i = 0; i < axis.values.size(); ++i) {
                auto next = arm;
                next.name += (arm.name.empty() ? "" : ", ") + axis.names[i];
                next.levels.push_back(i);
                for (std::size_t k = 0; k < axis.keys.size(); ++k) {
                    next.set.push_back(axis.keys[k] + "=" + axis.values[i][k]);
                    next.places[next.set.back()] = axis.places[i][k];
                }
                more.push_back(std::move(next));
            }
        arms = std::move(more);
    }
    const auto is_excluded = [&](const Arm& arm) {
        std::set<std::string> all;
        for (const auto& one : arm.set)
            all.insert(canonical(one.substr(0, one.find('=')), one.substr(one.find('=') + 1)));
        if (excluded)
            for (const auto& node : *excluded)
                if (const auto* table = node.as_table();
                    table && std::all_of(table->begin(), table->end(), [&](auto&& pair) {
                        return all.contains(canonical(std::string(pair.first.str()), toml_value(pair.second)));
                    }))
                    return true;
        return false;
    };
    std::erase_if(arms, is_excluded);
    return arms;
}

/// What an exclusion names must be what some axis has.
void check_exclusions(const toml::array* excluded, const std::vector<Axis>& axes, Diagnostics& mistakes) {
    if (!excluded) return;
    for (const auto& node : *excluded) {
        const auto* table = node.as_table();
        if (!table) {
            mistakes.add(place_of(node.source()), "an exclusion is a table of keys and values",
                         "write for example exclude = [{\"schedule.use\" = \"linear\", \"sampler.steps\" = 10}]");
            continue;
        }
        for (auto&& [key, value] : *table) {
            const auto text = toml_value(value), wanted = canonical(std::string(key.str()), text);
            const bool found = std::any_of(axes.begin(), axes.end(), [&](const Axis& axis) {
                return std::any_of(axis.values.begin(), axis.values.end(), [&](const auto& row) {
                    for (std::size_t k = 0; k < row.size(); ++k)
                        if (canonical(axis.keys[k], row[k]) == wanted) return true;
                    return false;
                });
            });
            if (!found)
                mistakes.add(place_of(key.source()), fmt::format("no axis gives `{}` the value {}", key.str(), text),
                             "write the key in quotes, and its value as in the axis");
        }
    }
}

/// Every arm has a name of its own, which its folder can bear; the baseline is one of them.
void check_arms(Study& study, const std::string& baseline, const toml::table& table, Diagnostics& mistakes) {
    std::vector<std::string> names;
    for (const auto& arm : study.arms) {
        if (std::find(names.begin(), names.end(), arm.name) != names.end())
            mistakes.add(place_of(table.source()), fmt::format("two arms are called `{}`", arm.name),
                         "give the axis `names`");
        else if (const auto problem = name_problem(arm.name); !problem.empty())
            mistakes.add(place_of(table.source()),
                         fmt::format("the arm `{}` cannot be the name of a folder: it {}", arm.name, problem),
                         "give the axis `names`");
        names.push_back(arm.name);
    }
    if (study.arms.empty()) mistakes.add(place_of(table.source()), "every arm is excluded");
    if (const auto at = std::find(names.begin(), names.end(), baseline); at != names.end())
        study.baseline = static_cast<std::size_t>(at - names.begin());
    else if (!baseline.empty())
        mistakes.add(place_of(table.get("baseline")->source()), fmt::format("`baseline` = \"{}\" is no arm", baseline),
                     fmt::format("there are {}", listed(names)));
}

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

/// Adds what experiments need done, each task where it is not there yet.
class Planner {
 public:
    explicit Planner(Study& study) : study_(study) {}

    /// An experiment of `first`, which is run whole.
    void add_first(const Experiment& experiment, const std::string& data) {
        const auto& stage = experiment.stages.front();
        const auto whole = toml::parse(experiment.resolved());
        first_[experiment.name] = add({.what = Task::What::both,
                                       .text = toml_text(whole),
                                       .stands_on = named_in(stage.reading->references, experiment, 0, data),
                                       .first = experiment.name},
                                      data, files_of(stage));
    }

    /// The last stage of a cell's experiment is what is measured; an earlier one is trained where a later one names it.
    /// → the task that measures
    std::string add_cell(const Experiment& experiment, const std::string& data) {
        const auto number = experiment.stages.size() - 1;
        const auto& stage = experiment.stages[number];
        const auto whole = toml::parse(experiment.resolved(stage));
        auto stands_on = named_in(stage.reading->references, experiment, number, data);
        if (!stage.train || (!stage.sample && stage.list("metric").empty()))
            return add({.what = Task::What::both, .text = toml_text(whole), .stands_on = std::move(stands_on)}, data,
                       files_of(stage));
        std::vector<std::string> set;
        for (const auto& name : sampling_tables())
            if (const auto* node = whole.get(name)) set.push_back(fmt::format("{}={}", name, toml_value(*node)));
        auto needs = add_training(experiment, number, data);
        return add({.what = Task::What::measure,
                    .text = toml_text(whole),
                    .set = std::move(set),
                    .needs = std::move(needs),
                    .stands_on = std::move(stands_on)},
                   data, files_of(stage));
    }

 private:
    std::string add_training(const Experiment& experiment, std::size_t number, const std::string& data) {
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
                    .stands_on = named_in(stage.training_references, experiment, number, data)},
                   data, std::move(files));
    }

    /// The networks that a stage's fields name: of its experiment's earlier stages, and of `first`.
    std::map<std::string, std::string> named_in(const std::set<std::string>& references, const Experiment& experiment,
                                                std::size_t number, const std::string& data) {
        std::map<std::string, std::string> named;
        for (std::size_t i = 0; i < number; ++i)
            if (const auto& earlier = experiment.stages[i]; earlier.train && references.contains(earlier.name))
                named[earlier.name] = add_training(experiment, i, data);
        for (const auto& [name, id] : first_)
            if (references.contains(name)) named.emplace(name, id);
        return named;
    }

    static std::vector<fs::path> files_of(const StageSpec& stage) {
        auto files = files_of_dtk();
        for (const auto& part : stage_parts)
            for (const auto& plugin : stage.list(part.kind)) files.push_back(plugin.file->file);
        for (const auto* file : stage.reading->chosen) files.push_back(file->file);
        return files;
    }

    std::string add(Task task, const std::string& data, std::vector<fs::path> files) {
        auto what = task.text + data + fmt::format("{}", fmt::join(task.set, "\n")),
             made_by = hash_of_files(std::move(files));
        const auto stand_on = [&](const std::string& name, const std::string& id) {
            what += name + study_.task(id).config, made_by += id;
        };
        if (!task.needs.empty()) stand_on("", task.needs);
        for (const auto& [name, id] : task.stands_on) stand_on(name, id);
        task.config = sha256(what).substr(0, 16);
        task.id = task.config + "-" + sha256(made_by).substr(0, 8);
        const auto there = std::find_if(study_.tasks.begin(), study_.tasks.end(),
                                        [&](const Task& known) { return known.id == task.id; });
        if (there == study_.tasks.end()) study_.tasks.push_back(task);
        return task.id;
    }

    Study& study_;
    std::map<std::string, std::string> first_;
};

/// Every seed, with each of the sampling seeds where there are any.
std::vector<std::pair<std::int64_t, std::optional<std::int64_t>>> draws_of(const Study& study) {
    std::vector<std::pair<std::int64_t, std::optional<std::int64_t>>> all;
    for (const auto seed : study.seeds) {
        if (study.sample_seeds.empty()) all.emplace_back(seed, std::nullopt);
        for (const auto draw : study.sample_seeds) all.emplace_back(seed, draw);
    }
    return all;
}

/// Reads the experiments of `first` and plans them → NAME=FILE for each, for checking what stands on them.
std::vector<std::string> read_first(const std::vector<std::string>& files, const Study& study, const toml::node* at,
                                    Planner& planner, const Overrides& overrides, std::int64_t threads,
                                    const Examine& examine, Diagnostics& mistakes) {
    std::vector<std::string> artefacts;
    for (const auto& name : files) {
        const auto file = (study.file.parent_path() / name).lexically_normal();
        if (!fs::exists(file)) {
            mistakes.add(place_of(at->source()), fmt::format("there is no file {}", file.string()),
                         "`first` names experiment files, seen from the study's own folder");
            continue;
        }
        Overrides laid;
        laid.device = overrides.device;
        laid.plugin_path = overrides.plugin_path;
        laid.artefacts = artefacts;
        const auto root = read_toml(file, mistakes);
        if (!root.contains("threads")) laid.set.push_back(fmt::format("threads={}", threads));
        if (!root.contains("seed")) laid.seed = 0;
        Diagnostics found;
        const auto data = examine(file, laid, found);
        std::unique_ptr<Registry> registry;
        Experiment experiment;
        if (found.empty()) experiment = read_experiment(file, laid, registry, found);
        if (found.empty() && (root.contains("ablation") || root.contains("stage") || !experiment.stages.front().train))
            found.add(
                {file.string()},
                "an experiment of `first` trains one network: it has [train], and neither [ablation] nor [[stage]]");
        if (found.empty() && std::any_of(artefacts.begin(), artefacts.end(),
                                         [&](const auto& one) { return one.starts_with(experiment.name + "="); }))
            found.add({file.string()}, fmt::format("two experiments of `first` have the name `{}`", experiment.name));
        if (found.empty()) {
            planner.add_first(experiment, data);
            artefacts.push_back(experiment.name + "=" + file.string());
        }
        mistakes.take(std::move(found));
    }
    return artefacts;
}

}  // namespace

std::size_t Study::place_of(const Cell& cell) const {
    const auto seed = std::find(seeds.begin(), seeds.end(), cell.seed) - seeds.begin();
    if (!cell.sample_seed) return static_cast<std::size_t>(seed);
    const auto draw = std::find(sample_seeds.begin(), sample_seeds.end(), *cell.sample_seed) - sample_seeds.begin();
    return static_cast<std::size_t>(seed) * sample_seeds.size() + static_cast<std::size_t>(draw);
}

std::optional<Smallest> read_smallest(const std::string& text) {
    const bool relative = text.ends_with('%');
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (!std::isfinite(value) || !(value > 0) || std::string_view(end) != (relative ? "%" : "")) return std::nullopt;
    return Smallest{relative ? value / 100 : value, relative};
}

const Task& Study::task(const std::string& id) const {
    return *std::find_if(tasks.begin(), tasks.end(), [&](const Task& task) { return task.id == id; });
}

bool is_study(const fs::path& file, const Overrides& overrides) {
    Diagnostics ignored;
    return read_toml(file, overrides.set, ignored).contains("ablation");
}

double Study::error() const {
    const double error = 1 - level;
    return until_decided ? error_of_look(seeds.size(), first_seeds, static_cast<std::size_t>(limit), error) : error;
}

Study read_study(const fs::path& file, const Overrides& overrides, std::int64_t threads, const Examine& examine,
                 Diagnostics& mistakes, std::size_t seeds) {
    Study study;
    study.file = fs::absolute(file);
    const auto root = read_toml(file, overrides.set, mistakes);
    const auto* table = root.get_as<toml::table>("ablation");
    if (!mistakes.empty()) return study;
    if (!table) {
        mistakes.add(place_of(root.get("ablation")->source()), "`ablation` must be a table, [ablation]");
        return study;
    }
    study.text = read_file(file);
    const Registry none({});
    ParseContext reading{none, mistakes, study.file.parent_path(), {&root}};
    AblationSettings settings;
    const auto* two = table->get_as<toml::table>("seeds");
    settings.seeds_are_a_list = !two;
    TomlFields reader(reading, table, "[ablation]");
    settings.fields(reader);
    reader.finish({"axis", "exclude", "seeds"});
    if (two) {
        TomlFields two_axes(reading, two, "`seeds`");
        two_axes("train", settings.seeds, at_least(0), "every arm is trained with each of them");
        two_axes("sample", settings.sample_seeds, at_least(0), "every training is drawn from with each of them");
        two_axes.finish();
        if (!settings.sample_seeds.empty() && (root.contains("stage") || !root.contains("sample")))
            mistakes.add(place_of(two->source()), "sampling seeds are for an experiment of one stage that has [sample]",
                         "leave `sample` out of `seeds`, or write [sample] at the top of the file");
    }
    const auto smallest = settings.smallest.empty() ? std::optional(Smallest{}) : read_smallest(settings.smallest);
    if (!smallest)
        mistakes.add(place_of(table->get("smallest")->source()),
                     fmt::format("`smallest` = \"{}\" is neither a share nor a number above 0", settings.smallest),
                     "write for example smallest = \"1%\" (of the baseline's mean), or smallest = \"0.02\"");
    std::vector<Axis> axes;
    bool whole = true;  // what varies is known
    if (const auto* list = table->get_as<toml::array>("axis"); list && list->is_array_of_tables()) {
        for (const auto& one : *list)
            if (auto axis = read_axis(*one.as_table(), mistakes))
                axes.push_back(std::move(*axis));
            else
                whole = false;
    } else {
        whole = false;
        mistakes.add(place_of(table->source()), "a study needs an axis: what varies",
                     "add\n    [[ablation.axis]]\n    key = \"schedule.use\"\n    values = [\"linear\", \"cosine\"]");
    }
    const auto* excluded = table->get_as<toml::array>("exclude");
    if (whole) check_exclusions(excluded, axes, mistakes);
    if (settings.seeds.empty())
        mistakes.add(place_of(table->source()), "`seeds` is empty",
                     "give one at least, five for intervals that say something");
    for (const auto* list : {&settings.seeds, &settings.sample_seeds})
        if (std::set(list->begin(), list->end()).size() != list->size())
            mistakes.add(place_of(table->source()), "a seed stands in `seeds` twice");
    if (settings.until == "decided" && static_cast<std::int64_t>(settings.seeds.size()) > settings.limit)
        mistakes.add(
            place_of(table->source()),
            fmt::format("there are {} seeds to begin with, and `limit` is {}", settings.seeds.size(), settings.limit),
            "raise `limit`");
    if (!whole || settings.seeds.empty() || !smallest) return study;

    study.question = settings.question;
    study.seeds = settings.seeds;
    study.sample_seeds = settings.sample_seeds;
    study.level = settings.level;
    study.all_pairs = settings.compare == "pairs";
    study.confirm = settings.confirm;
    study.smallest = *smallest;
    study.until_decided = settings.until == "decided";
    study.limit = settings.limit;
    study.first_seeds = study.seeds.size();
    while (study.seeds.size() < seeds)
        study.seeds.push_back(1 + *std::max_element(study.seeds.begin(), study.seeds.end()));
    study.arms = arms_of(axes, excluded);
    check_arms(study, settings.baseline, *table, mistakes);
    for (const auto& axis : axes) study.axes.push_back({fmt::format("{}", fmt::join(axis.keys, " ")), axis.names});

    Planner planner(study);
    const auto artefacts =
        read_first(settings.first, study, table->get("first"), planner, overrides, threads, examine, mistakes);
    if (artefacts.size() < settings.first.size()) return study;
    std::unique_ptr<Registry> registry;
    std::map<std::string, std::string> same;  // an experiment with every field → the arm that it is
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        std::string data;
        for (const auto& [seed, sample_seed] : draws_of(study)) {
            auto laid = overrides;
            laid.set.insert(laid.set.end(), study.arms[arm].set.begin(), study.arms[arm].set.end());
            laid.places = study.arms[arm].places;
            if (!root.contains("threads")) laid.set.push_back(fmt::format("threads={}", threads));
            laid.seed = seed;
            if (sample_seed) laid.set.push_back(fmt::format("sample.seed={}", *sample_seed));
            laid.artefacts.insert(laid.artefacts.end(), artefacts.begin(), artefacts.end());
            // One seed of an arm is as right or wrong as another.
            Diagnostics found;
            if (seed == study.seeds.front() && (!sample_seed || sample_seed == study.sample_seeds.front()))
                data = examine(file, laid, found);
            Experiment experiment;
            if (found.empty()) experiment = read_experiment(file, laid, registry, found);
            if (!found.empty()) {
                mistakes.take(std::move(found), arm == 0 ? "" : fmt::format("the arm `{}`", study.arms[arm].name));
                break;
            }
            if (seed == study.seeds.front()) {
                const auto [other, is_new] = same.try_emplace(experiment.resolved(), study.arms[arm].name);
                if (!is_new && other->second != study.arms[arm].name)
                    mistakes.add(place_of(table->source()),
                                 fmt::format("the arms `{}` and `{}` are one and the same experiment", other->second,
                                             study.arms[arm].name),
                                 "take one away, or exclude it: exclude = [{\"KEY\" = VALUE, …}]");
            }
            for (const auto& note : experiment.notes)
                if (std::find(study.notes.begin(), study.notes.end(), note) == study.notes.end())
                    study.notes.push_back(note);
            study.name = experiment.name;
            for (const auto& metric : experiment.stages.back().list("metric"))
                if (std::find(study.metrics.begin(), study.metrics.end(), metric.label) == study.metrics.end())
                    study.metrics.push_back(metric.label);
            study.cells.push_back({arm, seed, sample_seed, planner.add_cell(experiment, data)});
        }
    }
    // What the experiment measures, and what it stands on, is known where some arm could be read.
    if (study.cells.empty()) return study;
    for (const auto& metric : settings.metrics)
        if (std::find(study.metrics.begin(), study.metrics.end(), metric) == study.metrics.end())
            mistakes.add(place_of(table->get("metrics")->source()),
                         fmt::format("`{}` is no metric of the experiment", metric),
                         fmt::format("it has {}", listed(study.metrics)));
    if (study.metrics.empty())
        mistakes.add(place_of(table->source()), "the experiment has no [[metric]] to compare arms by",
                     "add one, such as [[metric]] use = \"sliced_wasserstein\"");
    if (!settings.metrics.empty()) study.metrics = settings.metrics;
    if (!mistakes.empty()) return study;
    for (const auto& task : study.tasks)
        if (!task.first.empty() && std::none_of(study.tasks.begin(), study.tasks.end(), [&](const Task& other) {
                return other.stands_on.contains(task.first);
            }))
            mistakes.add(place_of(table->get("first")->source()),
                         fmt::format("no arm asks for the network of `{}`", task.first),
                         fmt::format("name it in a plugin's field, such as features = \"{}\"", task.first));
    const auto turn = [](const Task& task) { return !task.first.empty() ? 0 : task.what == Task::What::train ? 1 : 2; };
    std::stable_sort(study.tasks.begin(), study.tasks.end(),
                     [&](const Task& a, const Task& b) { return turn(a) < turn(b); });
    return study;
}

}  // namespace dtk
