// Reads a study from its file, checks every arm and plans what there is to do.
#include "study/study.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/files.hpp"
#include "base/toml.hpp"
#include "base/words.hpp"
#include "study/ablation.hpp"
#include "study/planner.hpp"
#include "study/statistics.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

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

/// What a study is read from, and where it says what is wrong.
struct Source {
    const fs::path& file;
    const Overrides& overrides;
    std::int64_t threads;
    const Examine& examine;
    Diagnostics& mistakes;
};

/// Reads the experiments of `first` and plans them → NAME=FILE for each, for checking what stands on them.
std::vector<std::string> read_first(const std::vector<std::string>& files, const Study& study, const toml::node* at,
                                    Planner& planner, const Source& source) {
    auto& mistakes = source.mistakes;
    std::vector<std::string> artefacts;
    for (const auto& name : files) {
        const auto file = (study.file.parent_path() / name).lexically_normal();
        if (!fs::exists(file)) {
            mistakes.add(place_of(at->source()), fmt::format("there is no file {}", file.string()),
                         "`first` names experiment files, seen from the study's own folder");
            continue;
        }
        Overrides laid;
        laid.device = source.overrides.device;
        laid.plugin_path = source.overrides.plugin_path;
        laid.artefacts = artefacts;
        const auto root = read_toml(file, mistakes);
        if (!root.contains("threads")) laid.set.push_back(fmt::format("threads={}", source.threads));
        if (!root.contains("seed")) laid.seed = 0;
        Diagnostics found;
        const auto data = source.examine(file, laid, found);
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

/// What [ablation] says of the study, its arms among it, as far as it can be said without reading the experiment.
void lay_out(Study& study, const Ablation& ablation, const toml::table& table, const Growth& growth,
             Diagnostics& mistakes) {
    const auto& settings = ablation.settings;
    study.question = settings.question;
    study.tune = ablation.tune;
    study.search = ablation.search;
    const bool is_search = study.search && !study.search->is_confirming();
    study.seeds = study.search && !is_search ? settings.fresh : settings.seeds;
    study.sample_seeds = settings.sample_seeds;
    study.vary = settings.vary;
    study.one_at_a_time = settings.one_at_a_time && !is_search;
    study.level = settings.level;
    study.all_pairs = settings.compare == "pairs";
    study.confirm = settings.confirm;
    study.smallest = ablation.smallest;
    study.until_decided = settings.until == "decided" && !is_search;
    study.limit = settings.limit;
    study.first_seeds = study.seeds.size();
    while (study.seeds.size() < growth.seeds)
        study.seeds.push_back(1 + *std::max_element(study.seeds.begin(), study.seeds.end()));
    study.arms = arms_of(ablation.axes, table.get_as<toml::array>("exclude"));
    check_arms(study, settings.baseline, table, mistakes);
    if (study.search && study.arms.size() < 3)
        mistakes.add(place_of(*table.get("search")), "a search takes three arms at least, the baseline among them");
    if (!mistakes.empty() && study.arms.empty()) return;
    if (study.search) keep_arms(study);
    for (const auto& axis : ablation.axes)
        study.axes.push_back({fmt::format("{}", fmt::join(axis.keys, " ")), axis.names});
}

/// Reads the experiment of every arm with every seed, and plans what its cells need.
class ArmReader {
 public:
    ArmReader(Study& study, const Ablation& ablation, const Source& source, const toml::table& root,
              const toml::table& table, Planner& planner, std::vector<std::string> artefacts)
        : study_(study),
          ablation_(ablation),
          source_(source),
          root_(root),
          table_(table),
          planner_(planner),
          artefacts_(std::move(artefacts)),
          values_(study.tune ? study.tune->values : std::vector<std::string>{""}),
          is_search_(study.search && !study.search->is_confirming()) {}

    /// An arm's cells, up to the first that is mistaken: one seed of an arm is as right or wrong as another.
    void read(std::size_t arm) {
        data_.clear();
        for (const auto& seeding : seedings_of(study_)) {
            Cell cell{.arm = arm,
                      .seed = seeding.seed,
                      .sample_seed = seeding.sample_seed,
                      .task = {},
                      .stream = seeding.stream};
            for (std::size_t v = 0; v < values_.size(); ++v)
                if (!add_value(cell, v, overrides_of(arm, v, seeding))) return;
            if (study_.tune) cell.task = cell.choices.front();
            study_.cells.push_back(std::move(cell));
        }
    }

 private:
    Overrides overrides_of(std::size_t arm, std::size_t v, const Seeding& seeding) const {
        auto laid = source_.overrides;
        laid.set.insert(laid.set.end(), study_.arms[arm].set.begin(), study_.arms[arm].set.end());
        laid.places = study_.arms[arm].places;
        if (study_.tune) {
            laid.set.push_back(study_.tune->key + "=" + values_[v]);
            laid.places[laid.set.back()] = ablation_.tuned_at[v];
        }
        if (!root_.contains("threads")) laid.set.push_back(fmt::format("threads={}", source_.threads));
        if (is_search_)
            laid.set.push_back(fmt::format("train.steps={}", study_.search->steps_of(study_.search->done.size())));
        seeding.lay(laid, study_, root_["seed"].value_or(std::int64_t{0}));
        laid.artefacts.insert(laid.artefacts.end(), artefacts_.begin(), artefacts_.end());
        return laid;
    }

    /// What the cell needs with the v-th of the values that are tuned, or with none → whether it is right.
    bool add_value(Cell& cell, std::size_t v, Overrides laid) {
        const auto& arm = study_.arms[cell.arm];
        Diagnostics found;
        const bool is_first = data_.size() == v;
        if (is_first) data_.push_back(source_.examine(source_.file, laid, found));
        Experiment experiment;
        if (found.empty()) experiment = read_experiment(source_.file, laid, registry_, found);
        if (!found.empty()) {
            source_.mistakes.take(std::move(found), cell.arm == 0 ? "" : fmt::format("the arm `{}`", arm.name));
            return false;
        }
        if (is_first && v == 0) check_new(arm, experiment);
        note(experiment);
        std::string goes_on;
        for (std::size_t rung = 0; is_search_ && rung < study_.search->done.size(); ++rung) {
            auto shorter = laid;
            shorter.set.push_back(fmt::format("train.steps={}", study_.search->steps_of(rung)));
            goes_on = planner_.add_rung(read_experiment(source_.file, shorter, registry_, found), data_[v], goes_on);
        }
        cell.task = planner_.add_cell(experiment, data_[v], {}, goes_on);
        return !study_.tune || add_choice(cell, v, std::move(laid), experiment);
    }

    /// The same with other samples, which say how good the value is.
    bool add_choice(Cell& cell, std::size_t v, Overrides laid, const Experiment& experiment) {
        auto& tune = *study_.tune;
        const auto& wanted = ablation_.settings.metrics;
        if (tune.metric.empty() && !study_.metrics.empty())
            tune.metric = wanted.empty() ? study_.metrics.front() : wanted.front();
        if (seed_of_samples(experiment) == tune.seed) {
            source_.mistakes.add(place_of(*table_.get("tune")),
                                 fmt::format("what is tuned would be chosen by the samples that are reported: both are "
                                             "drawn with the seed {}",
                                             tune.seed),
                                 "give [ablation.tune] another `seed`");
            return false;
        }
        laid.set.push_back(fmt::format("sample.seed={}", tune.seed));
        Diagnostics found;
        cell.choices.push_back(cell.task);
        cell.tuned.push_back(
            planner_.add_cell(read_experiment(source_.file, laid, registry_, found), data_[v], tune.metric));
        return true;
    }

    /// No two arms are one experiment.
    void check_new(const Arm& arm, const Experiment& experiment) {
        const auto [other, is_new] = same_.try_emplace(experiment.resolved(), arm.name);
        if (!is_new && other->second != arm.name)
            source_.mistakes.add(
                place_of(table_.source()),
                fmt::format("the arms `{}` and `{}` are one and the same experiment", other->second, arm.name),
                "take one away, or exclude it: exclude = [{\"KEY\" = VALUE, …}]");
    }

    /// What the study learns of itself from its arms.
    void note(const Experiment& experiment) {
        const auto add = [](std::vector<std::string>& all, const std::string& one) {
            if (std::find(all.begin(), all.end(), one) == all.end()) all.push_back(one);
        };
        for (const auto& one : experiment.notes) add(study_.notes, one);
        study_.name = experiment.name;
        for (const auto& metric : experiment.stages.back().list("metric")) add(study_.metrics, metric.label);
    }

    Study& study_;
    const Ablation& ablation_;
    const Source& source_;
    const toml::table &root_, &table_;
    Planner& planner_;
    std::vector<std::string> artefacts_, values_;
    bool is_search_;
    std::vector<std::string> data_;  ///< the hash of what an arm reads, by value, once it is known
    std::unique_ptr<Registry> registry_;
    std::map<std::string, std::string> same_;  ///< an experiment with every field → the arm that it is
};

/// What the study counts, tunes by and stands on is what its experiments have.
void check_names(const Study& study, const AblationSettings& settings, const toml::table& table,
                 Diagnostics& mistakes) {
    const auto is_measured = [&](const std::string& metric) {
        return std::find(study.metrics.begin(), study.metrics.end(), metric) != study.metrics.end();
    };
    for (const auto& metric : settings.metrics)
        if (!is_measured(metric))
            mistakes.add(place_of(table.get("metrics")->source()),
                         fmt::format("`{}` is no metric of the experiment", metric),
                         fmt::format("it has {}", listed(study.metrics)));
    if (study.tune && !is_measured(study.tune->metric))
        mistakes.add(
            place_of(*table.get("tune")),
            fmt::format("`{}`, which [ablation.tune] chooses by, is no metric of the experiment", study.tune->metric),
            fmt::format("it has {}", listed(study.metrics)));
    if (study.metrics.empty())
        mistakes.add(place_of(table.source()), "the experiment has no [[metric]] to compare arms by",
                     "add one, such as [[metric]] use = \"sliced_wasserstein\"");
    if (!mistakes.empty()) return;
    for (const auto& task : study.tasks)
        if (!task.first.empty() && std::none_of(study.tasks.begin(), study.tasks.end(), [&](const Task& other) {
                return other.stands_on.contains(task.first);
            }))
            mistakes.add(place_of(table.get("first")->source()),
                         fmt::format("no arm asks for the network of `{}`", task.first),
                         fmt::format("name it in a plugin's field, such as features = \"{}\"", task.first));
}

}  // namespace

std::size_t Study::place_of(const Cell& cell) const {
    const auto seed = std::find(seeds.begin(), seeds.end(), cell.seed) - seeds.begin();
    if (!cell.sample_seed) return static_cast<std::size_t>(seed);
    const auto draw = std::find(sample_seeds.begin(), sample_seeds.end(), *cell.sample_seed) - sample_seeds.begin();
    return static_cast<std::size_t>(seed) * sample_seeds.size() + static_cast<std::size_t>(draw);
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
    const auto ablation = read_ablation(reading, root, *table, growth);
    if (!ablation) return study;
    lay_out(study, *ablation, *table, growth, mistakes);
    if (study.arms.empty()) return study;

    const auto& settings = ablation->settings;
    const Source source{file, overrides, threads, examine, mistakes};
    Planner planner(study);
    auto artefacts = read_first(settings.first, study, table->get("first"), planner, source);
    if (artefacts.size() < settings.first.size()) return study;
    ArmReader arms(study, *ablation, source, root, *table, planner, std::move(artefacts));
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) arms.read(arm);
    // What the experiment measures, and what it stands on, is known where some arm could be read.
    if (study.cells.empty()) return study;
    check_names(study, settings, *table, mistakes);
    if (!settings.metrics.empty()) study.metrics = settings.metrics;
    const auto turn = [](const Task& task) { return !task.first.empty() ? 0 : task.what == Task::What::train ? 1 : 2; };
    std::stable_sort(study.tasks.begin(), study.tasks.end(),
                     [&](const Task& a, const Task& b) { return turn(a) < turn(b); });
    return study;
}

}  // namespace dtk
