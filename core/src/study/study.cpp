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
#include "base/stream_seeds.hpp"
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
    std::vector<std::string> metrics, first, vary;
    bool one_at_a_time = false;
    double level = 0.95;
    std::string compare = "baseline", confirm = "first", smallest, until = "all";
    std::int64_t limit = 20, eta = 2, rungs = 3;
    std::string search = "all";
    std::vector<std::int64_t> fresh;
    bool seeds_are_a_list = true;
    void fields(Fields& f) {
        f("question", question, "what the study is to answer, for its report");
        f("baseline", baseline, "the arm that the others are compared with; otherwise the first");
        if (seeds_are_a_list) f("seeds", seeds, at_least(0), "every arm runs with each of them");
        f("vary", vary,
          "the random streams of training that follow its seed, of init, data, noise and times; all else, sampling "
          "too, keeps the experiment's seed. Empty: everything follows it");
        f("one_at_a_time", one_at_a_time,
          "train with each stream of `vary` varied alone, too, so that the scatter is split by stream");
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
        f("search", search, {"all", "halving"},
          "train every arm as long, or of many arms few for long and hold the best against the baseline");
        f("rungs", rungs, in(2, 12), "with search = \"halving\": how often arms are left out");
        f("eta", eta, in(2, 16), "with it: each rung keeps one arm in eta, and trains them eta times as long");
        f("fresh", fresh, at_least(0), "with it: the seeds of the trainings that confirm what the search found");
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

    /// The training of an experiment of one stage.
    std::string add_rung(const Experiment& experiment, const std::string& data, const std::string& goes_on) {
        return add_training(experiment, 0, data, goes_on);
    }

    /// An experiment that is run whole, all of its stages. → its task
    std::string add_whole(const Experiment& experiment, const std::string& data) {
        std::vector<fs::path> files;
        for (const auto& stage : experiment.stages)
            for (auto& file : files_of(stage)) files.push_back(std::move(file));
        return add({.what = Task::What::both, .text = experiment.resolved()}, data, std::move(files));
    }

    /// The last stage of a cell's experiment is what is measured; an earlier one is trained where a later one names it.
    /// → the task that measures
    /// metric: the only one that is measured; empty: all.
    /// goes_on: the training that this one goes on with.
    std::string add_cell(const Experiment& experiment, const std::string& data, const std::string& metric = {},
                         const std::string& goes_on = {}) {
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

 private:
    static void keep_metric(toml::table& whole, const std::string& metric) {
        auto* list = whole.get_as<toml::array>("metric");
        for (std::size_t i = list ? list->size() : 0; i-- > 0;) {
            const auto& one = *list->get_as<toml::table>(i);
            if (one["name"].value_or(one["use"].value_or(std::string())) != metric)
                list->erase(list->begin() + static_cast<std::ptrdiff_t>(i));
        }
    }

    std::string add_training(const Experiment& experiment, std::size_t number, const std::string& data,
                             const std::string& goes_on = {}) {
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
        if (!task.goes_on.empty()) stand_on("goes on", task.goes_on);
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

/// What an arm runs with once.
struct Seeding {
    std::int64_t seed;
    std::optional<std::int64_t> sample_seed;
    std::string stream;  ///< the only one that follows the seed; empty: all that vary

    /// Lays it over an experiment. base: the seed of all that does not follow the training's.
    void lay(Overrides& laid, const Study& study, std::int64_t base) const {
        laid.seed = study.vary.empty() ? seed : base;
        for (const auto& one : stream.empty() ? study.vary : std::vector{stream})
            laid.set.push_back(fmt::format("seeds.{}={}", one, seed));
        if (sample_seed) laid.set.push_back(fmt::format("sample.seed={}", *sample_seed));
    }
};

/// Every seed, with each of the sampling seeds where there are any; then the same with one stream at a time.
std::vector<Seeding> seedings_of(const Study& study) {
    std::vector<std::string> streams{""};
    if (study.one_at_a_time) streams.insert(streams.end(), study.vary.begin(), study.vary.end());
    std::vector<Seeding> all;
    for (const auto& stream : streams)
        for (const auto seed : study.seeds) {
            if (study.sample_seeds.empty()) all.push_back({seed, std::nullopt, stream});
            for (const auto draw : study.sample_seeds) all.push_back({seed, draw, stream});
        }
    return all;
}

struct TuneSettings {
    Tuning tuning;
    void fields(Fields& f) {
        f("key", tuning.key, "what every arm chooses for each of its trainings, such as guidance.0.scale");
        f("metric", tuning.metric, "what it chooses by; otherwise the study's first");
        f("seed", tuning.seed, at_least(0),
          "of the samples that choose, which must be none of those that are reported");
    }
};

/// Reads [ablation.tune]; nothing where there is none, or where it is mistaken. places: where the values stand.
std::optional<Tuning> read_tuning(ParseContext& reading, const toml::table& ablation, const toml::table& root,
                                  const std::vector<Axis>& axes, std::vector<SourceLocation>& places) {
    const auto* node = ablation.get("tune");
    if (!node) return std::nullopt;
    auto& mistakes = reading.mistakes;
    const auto before = mistakes.count();
    const auto* table = node->as_table();
    constexpr auto example =
        "write for example\n    [ablation.tune]\n    key = \"sampler.eta\"\n    values = [0, 0.5, 1]";
    if (!table) {
        mistakes.add(place_of(*node), "`tune` must be a table, [ablation.tune]", example);
        return std::nullopt;
    }
    TuneSettings settings;
    TomlFields reader(reading, table, "[ablation.tune]");
    settings.fields(reader);
    reader.finish({"values"});
    auto& tuning = settings.tuning;
    const auto* values = table->get_as<toml::array>("values");
    for (std::size_t i = 0; values && i < values->size(); ++i) {
        tuning.values.push_back(toml_value(*values->get(i)));
        places.push_back(place_of(*values->get(i)));
    }
    if (tuning.key.empty()) mistakes.add(place_of(*table), "[ablation.tune] needs a `key`", example);
    if (std::set(tuning.values.begin(), tuning.values.end()).size() != tuning.values.size() || tuning.values.size() < 2)
        mistakes.add(place_of(*table), "[ablation.tune] needs two different `values` at least", example);
    for (const auto& axis : axes)
        if (std::find(axis.keys.begin(), axis.keys.end(), tuning.key) != axis.keys.end())
            mistakes.add(
                place_of(*table->get("key")),
                fmt::format("an axis gives `{}` its values already, and what arms differ in is not chosen", tuning.key),
                "tune another key, or take the axis away");
    if (root.contains("stage") || !root.contains("sample"))
        mistakes.add(place_of(*table), "tuning is for an experiment of one stage that has [sample]: samples choose",
                     "take [ablation.tune] away, or add [sample]");
    return mistakes.count() > before ? std::nullopt : std::optional(std::move(tuning));
}

/// The search that [ablation] asks for; nothing where it asks for none, or is mistaken.
std::optional<Search> read_search(const AblationSettings& settings, const toml::table& table, const toml::table& root,
                                  const std::vector<Axis>& axes, const Growth& growth, Diagnostics& mistakes) {
    if (settings.search == "all") {
        if (!settings.fresh.empty())
            mistakes.add(place_of(*table.get("fresh")), "`fresh` seeds confirm what a search found, and there is none",
                         "add search = \"halving\", or write the seeds in `seeds`");
        return std::nullopt;
    }
    const auto before = mistakes.count();
    const auto place = place_of(*table.get("search"));
    const auto steps = root["train"]["steps"].value<std::int64_t>();
    Search search{.rungs = static_cast<std::size_t>(settings.rungs),
                  .eta = static_cast<std::size_t>(settings.eta),
                  .seeds = settings.seeds,
                  .fresh = settings.fresh,
                  .arms = {},
                  .steps = steps.value_or(0),
                  .done = growth.rungs};
    if (root.contains("stage") || !steps)
        mistakes.add(place, "a search by halving is for an experiment of one stage that says `steps` in [train]");
    else if (search.steps_of(0) < 1)
        mistakes.add(place, fmt::format("{} rungs leave the first one no step of {}", search.rungs, *steps),
                     "take fewer `rungs`, or a smaller `eta`");
    for (const auto& axis : axes)
        if (std::find(axis.keys.begin(), axis.keys.end(), "train.steps") != axis.keys.end())
            mistakes.add(place, "an axis gives `train.steps` its values, and the rungs of a search do so, too",
                         "take the axis away");
    if (settings.fresh.empty())
        mistakes.add(place, "nothing confirms what the search finds",
                     "name seeds that had no part in it, such as fresh = [100, 101, 102, 103, 104]");
    for (const auto seed : settings.fresh)
        if (std::find(settings.seeds.begin(), settings.seeds.end(), seed) != settings.seeds.end())
            mistakes.add(
                place_of(*table.get("fresh")),
                fmt::format("the winner would be confirmed with the seed {}, which had a part in choosing it", seed),
                "`fresh` and `seeds` have none in common");
    if (table.contains("tune"))
        mistakes.add(place, "[ablation.tune] and search = \"halving\" both choose among trainings",
                     "take one of them; what is to be tuned may be an axis of the search");
    return mistakes.count() > before ? std::nullopt : std::optional(std::move(search));
}

/// Leaves the arms that run now: those that the last rung kept, with the baseline.
void keep_arms(Study& study) {
    auto& search = *study.search;
    const auto baseline = study.arms[study.baseline].name;
    for (const auto& arm : study.arms) search.arms.push_back(arm.name);
    if (search.done.empty()) return;
    const auto& kept = search.done.back().kept;
    std::erase_if(study.arms, [&](const Arm& arm) {
        return arm.name != baseline && std::find(kept.begin(), kept.end(), arm.name) == kept.end();
    });
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
        if (study.arms[arm].name == baseline) study.baseline = arm;
}

/// The seed that an experiment's samples are drawn with.
std::int64_t seed_of_samples(const Experiment& experiment) {
    const auto& sample = experiment.stages.back().sample;
    return sample && sample->seed >= 0 ? sample->seed : experiment.seed;
}

/// `vary` names streams of training, each once.
void check_vary(const AblationSettings& settings, const toml::table& root, const toml::table& table,
                Diagnostics& mistakes) {
    const auto place = [&](const char* key) { return place_of(*table.get(key)); };
    const std::vector<std::string> known(std::begin(streams_of_training), std::end(streams_of_training));
    for (const auto& one : settings.vary)
        if (std::find(known.begin(), known.end(), one) == known.end()) {
            const auto near = nearest(one, known);
            mistakes.add(
                place("vary"), fmt::format("`{}` is no random stream of training", one),
                near.empty() ? fmt::format("there are {}", listed(known)) : fmt::format("did you mean `{}`?", near));
        }
    if (std::set(settings.vary.begin(), settings.vary.end()).size() != settings.vary.size())
        mistakes.add(place("vary"), "a stream stands in `vary` twice");
    if (!settings.vary.empty() && !root.contains("train") && !root.contains("stage"))
        mistakes.add(place("vary"), "`vary` names streams of training, and nothing is trained",
                     "leave it out, or add [train]");
    if (settings.one_at_a_time && (settings.vary.size() < 2 || settings.seeds.size() < 2))
        mistakes.add(place("one_at_a_time"), "one stream at a time takes two streams in `vary` and two seeds at least",
                     "write for example vary = [\"init\", \"data\", \"noise\", \"times\"]");
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

Study read_claims(const std::vector<fs::path>& files, const Overrides& overrides, std::int64_t threads,
                  const Examine& examine, std::vector<std::vector<Expectation>>& claims, Diagnostics& mistakes) {
    Study study;
    study.name = "verify";
    study.seeds = {0};
    Planner planner(study);
    std::unique_ptr<Registry> registry;
    for (const auto& file : files) {
        auto laid = overrides;
        const auto root = read_toml(file, laid.set, mistakes);
        if (!root.contains("threads")) laid.set.push_back(fmt::format("threads={}", threads));
        if (!root.contains("seed")) laid.seed = 0;
        if (root.contains("ablation")) {
            mistakes.add(place_of(*root.get("ablation")), "a claim is about one run, and this is a study",
                         "its report says how its arms compare; give the arm in question a file of its own");
            continue;
        }
        Diagnostics found;
        const auto data = examine(file, laid, found);
        Experiment experiment;
        if (found.empty()) experiment = read_experiment(file, laid, registry, found);
        auto claimed = found.empty() ? read_expectations(experiment, found) : std::vector<Expectation>{};
        const bool right = found.empty();
        mistakes.take(std::move(found));
        if (!right) continue;
        study.cells.push_back({study.arms.size(), 0, std::nullopt, planner.add_whole(experiment, data)});
        study.arms.push_back({.name = file.string(), .set = {}});
        claims.push_back(std::move(claimed));
    }
    return study;
}

Study read_study(const fs::path& file, const Overrides& overrides, std::int64_t threads, const Examine& examine,
                 Diagnostics& mistakes, const Growth& growth) {
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
    reader.finish({"axis", "exclude", "seeds", "tune"});
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
    check_vary(settings, root, *table, mistakes);
    if (settings.until == "decided" && static_cast<std::int64_t>(settings.seeds.size()) > settings.limit)
        mistakes.add(
            place_of(table->source()),
            fmt::format("there are {} seeds to begin with, and `limit` is {}", settings.seeds.size(), settings.limit),
            "raise `limit`");
    std::vector<SourceLocation> places_of_values;
    study.tune = read_tuning(reading, *table, root, axes, places_of_values);
    study.search = read_search(settings, *table, root, axes, growth, mistakes);
    if (!whole || settings.seeds.empty() || !smallest) return study;

    study.question = settings.question;
    const bool is_search = study.search && !study.search->is_confirming();
    study.seeds = study.search && !is_search ? settings.fresh : settings.seeds;
    study.sample_seeds = settings.sample_seeds;
    study.vary = settings.vary;
    study.one_at_a_time = settings.one_at_a_time && !is_search;
    study.level = settings.level;
    study.all_pairs = settings.compare == "pairs";
    study.confirm = settings.confirm;
    study.smallest = *smallest;
    study.until_decided = settings.until == "decided" && !is_search;
    study.limit = settings.limit;
    study.first_seeds = study.seeds.size();
    while (study.seeds.size() < growth.seeds)
        study.seeds.push_back(1 + *std::max_element(study.seeds.begin(), study.seeds.end()));
    study.arms = arms_of(axes, excluded);
    check_arms(study, settings.baseline, *table, mistakes);
    if (study.search && study.arms.size() < 3)
        mistakes.add(place_of(*table->get("search")), "a search takes three arms at least, the baseline among them");
    if (!mistakes.empty() && study.arms.empty()) return study;
    if (study.search) keep_arms(study);
    for (const auto& axis : axes) study.axes.push_back({fmt::format("{}", fmt::join(axis.keys, " ")), axis.names});

    Planner planner(study);
    const auto artefacts =
        read_first(settings.first, study, table->get("first"), planner, overrides, threads, examine, mistakes);
    if (artefacts.size() < settings.first.size()) return study;
    std::unique_ptr<Registry> registry;
    const auto base_seed = root["seed"].value_or(std::int64_t{0});
    std::map<std::string, std::string> same;  // an experiment with every field → the arm that it is
    const auto values = study.tune ? study.tune->values : std::vector<std::string>{""};
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        std::vector<std::string> data;  // of each value that is tuned, once it is known
        bool right = true;
        for (const auto& seeding : seedings_of(study)) {
            Cell cell{.arm = arm,
                      .seed = seeding.seed,
                      .sample_seed = seeding.sample_seed,
                      .task = {},
                      .stream = seeding.stream};
            for (std::size_t v = 0; right && v < values.size(); ++v) {
                auto laid = overrides;
                laid.set.insert(laid.set.end(), study.arms[arm].set.begin(), study.arms[arm].set.end());
                laid.places = study.arms[arm].places;
                if (study.tune) {
                    laid.set.push_back(study.tune->key + "=" + values[v]);
                    laid.places[laid.set.back()] = places_of_values[v];
                }
                if (!root.contains("threads")) laid.set.push_back(fmt::format("threads={}", threads));
                if (is_search)
                    laid.set.push_back(
                        fmt::format("train.steps={}", study.search->steps_of(study.search->done.size())));
                seeding.lay(laid, study, base_seed);
                laid.artefacts.insert(laid.artefacts.end(), artefacts.begin(), artefacts.end());
                // One seed of an arm is as right or wrong as another.
                Diagnostics found;
                const bool is_first = data.size() == v;
                if (is_first) data.push_back(examine(file, laid, found));
                Experiment experiment;
                if (found.empty()) experiment = read_experiment(file, laid, registry, found);
                if (!found.empty()) {
                    mistakes.take(std::move(found), arm == 0 ? "" : fmt::format("the arm `{}`", study.arms[arm].name));
                    right = false;
                    break;
                }
                if (is_first && v == 0) {
                    const auto [other, is_new] = same.try_emplace(experiment.resolved(), study.arms[arm].name);
                    if (!is_new && other->second != study.arms[arm].name)
                        mistakes.add(place_of(table->source()),
                                     fmt::format("the arms `{}` and `{}` are one and the same experiment",
                                                 other->second, study.arms[arm].name),
                                     "take one away, or exclude it: exclude = [{\"KEY\" = VALUE, …}]");
                }
                for (const auto& note : experiment.notes)
                    if (std::find(study.notes.begin(), study.notes.end(), note) == study.notes.end())
                        study.notes.push_back(note);
                study.name = experiment.name;
                for (const auto& metric : experiment.stages.back().list("metric"))
                    if (std::find(study.metrics.begin(), study.metrics.end(), metric.label) == study.metrics.end())
                        study.metrics.push_back(metric.label);
                std::string goes_on;
                for (std::size_t rung = 0; is_search && rung < study.search->done.size(); ++rung) {
                    auto shorter = laid;
                    shorter.set.push_back(fmt::format("train.steps={}", study.search->steps_of(rung)));
                    goes_on = planner.add_rung(read_experiment(file, shorter, registry, found), data[v], goes_on);
                }
                cell.task = planner.add_cell(experiment, data[v], {}, goes_on);
                if (!study.tune) continue;
                // The same with other samples, which say how good the value is.
                if (study.tune->metric.empty() && !study.metrics.empty())
                    study.tune->metric = settings.metrics.empty() ? study.metrics.front() : settings.metrics.front();
                if (seed_of_samples(experiment) == study.tune->seed) {
                    mistakes.add(place_of(*table->get("tune")),
                                 fmt::format("what is tuned would be chosen by the samples that are reported: both are "
                                             "drawn with the seed {}",
                                             study.tune->seed),
                                 "give [ablation.tune] another `seed`");
                    right = false;
                    break;
                }
                laid.set.push_back(fmt::format("sample.seed={}", study.tune->seed));
                cell.choices.push_back(cell.task);
                cell.tuned.push_back(
                    planner.add_cell(read_experiment(file, laid, registry, found), data[v], study.tune->metric));
            }
            if (!right) break;
            if (study.tune) cell.task = cell.choices.front();
            study.cells.push_back(std::move(cell));
        }
    }
    // What the experiment measures, and what it stands on, is known where some arm could be read.
    if (study.cells.empty()) return study;
    for (const auto& metric : settings.metrics)
        if (std::find(study.metrics.begin(), study.metrics.end(), metric) == study.metrics.end())
            mistakes.add(place_of(table->get("metrics")->source()),
                         fmt::format("`{}` is no metric of the experiment", metric),
                         fmt::format("it has {}", listed(study.metrics)));
    if (study.tune && std::find(study.metrics.begin(), study.metrics.end(), study.tune->metric) == study.metrics.end())
        mistakes.add(
            place_of(*table->get("tune")),
            fmt::format("`{}`, which [ablation.tune] chooses by, is no metric of the experiment", study.tune->metric),
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
