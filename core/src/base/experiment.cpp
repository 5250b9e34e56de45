#include "base/experiment.hpp"

#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "base/expectation.hpp"
#include "base/files.hpp"
#include "base/names.hpp"
#include "base/stream_seeds.hpp"
#include "base/trust.hpp"
#include "base/words.hpp"

namespace dtk {

namespace fs = std::filesystem;

void TrainSettings::fields(Fields& f) {
    f("steps", steps, at_least(1), "optimiser steps");
    f("batch", batch, at_least(1), "examples in a step, over all accumulated parts");
    f("accumulate", accumulate, at_least(1), "parts a batch is computed in, to save memory; divides batch");
    f("reduction", reduction, {"fast", "strict"},
      "how processes add up gradients: fast, all at once; strict, those of `parts` parts of the batch in a fixed tree, "
      "so that any number of processes gives the same bits on the CPU");
    f("parts", parts, at_least(1), "of strict: parts that a batch is computed in, a power of two; divides batch");
    f("recompute", recompute,
      "activation checkpointing: of each block of the network its input alone is kept for the gradient and the rest is "
      "computed again, for less memory and the same bits");
    f("lr", lr, above(0), "learning rate; [rate] says how it changes");
    f("warmup", warmup, at_least(0), "steps over which the learning rate rises from 0");
    f("clip", clip, at_least(0), "largest norm of the gradient; 0: no limit");
    f("drop_condition", drop_condition, up_from(0, 1),
      "share of the examples whose class or text is left out, so that classifier-free guidance can be used");
    f("precision", precision, {"float32", "bf16"}, "of the network's products; parameters and sums stay float32");
    f("log_every", log_every, at_least(1), "steps between two lines of metrics");
    f("checkpoint_every", checkpoint_every, at_least(0), "steps between two checkpoints; 0: only at the end");
    f("checkpoint_minutes", checkpoint_minutes, at_least(0), "minutes between two checkpoints by the clock; 0: none");
    f("keep", keep, at_least(1), "the newest checkpoints that are kept");
    f("keep_every", keep_every, at_least(0), "checkpoints of every so many steps are kept too; 0: none");
    f("snapshot_every", snapshot_every, at_least(0),
      "steps between two copies of the averages of `use = \"power\"`, of which `dtk ema` makes others; 0: none");
    f("sample_every", sample_every, at_least(0), "steps between two pictures of samples; 0: only at the end");
}

void ValidateSettings::fields(Fields& f) {
    f("every", every, at_least(0), "steps between two validations, and one at the end; 0: none at all");
    f("n", n, in(1, 4294967296.0),
      "pairs of an example and a time, the same at every validation, in every arm and under every seed; where the data "
      "hold out fewer examples, each is met at several times");
    f("levels", levels, at_least(1), "equal parts of the times, each with as many pairs and an error of its own");
    f("log_snr", log_snr, any_number(),
      "two numbers, such as [8, -8]: `levels` are equal parts of log-SNR between them, which arms with other schedules "
      "share; empty: equal parts of the T steps, which training with uniform times meets alike");
    f("batch", batch, at_least(1), "pairs the network is asked for at a time, on one thread; changes only last bits");
    f("split", split, {"test", "train"},
      "examples that training never sees, or some of those it does: their difference is what was learned by heart");
}

template <class Reader>
void SampleSettings::fields(Reader& f) {
    f("n", n, in(1, 4294967296.0), "samples to draw");
    f("batch", batch, at_least(1), "samples drawn at a time; does not change their noise");
    f("network_batch", network_batch, at_least(0),
      "rows the network is asked for at a time, the last ones padded; 0: a whole portion. With it samples keep their "
      "bits whatever `batch`");
    f("seed", seed, at_least(-1), "of what is drawn: x_T and the sampler's noise; -1: the experiment's");
    f("precision", precision, {"float32", "float64", "bf16"},
      "of the state, if the model takes it; bf16: of the network's products only");
    f("start", start,
      "x_T: random; quantiles, of data of one number the middles of n equal shares of its normal law, so that nothing "
      "is left to chance; or a safetensors file with a tensor `start`, [n, …]");
    f("invert", invert,
      "the file holds examples x_0: x_T is what the deterministic DDIM steps lead from to them, and is kept in "
      "start.safetensors");
    f("renoise", renoise, in(0, 1),
      "the file holds examples x_0, taken in turn: noise is added to them up to that share of the sampler's steps, and "
      "these are taken; 0: it holds x_T");
    f("interpolate", interpolate, in(0, 4294967296.0),
      "samples from one noise to another along the great circle between them: so many for each pair; 0: none");
    f("trajectory", trajectory, in(0, 1000000),
      "states x_t and estimates of x_0 that are kept of the first 64 samples, with a picture; 0: none");
    f("clip", clip, "keep the estimate of x_0 inside the data's range, where it has one");
    f("average", average,
      "the average of the parameters to sample with, by its name; empty: the first there is, none: the parameters");
    f.words("labels", labels,
            "classes to draw, in turn, by name or number, where the data have classes; empty: all with examples");
    f("prompts", prompts,
      "texts to draw, in turn, where there is a [tokenizer]; empty: the captions of the test examples, one by one");
}

template void SampleSettings::fields(TomlFields& f);
template void SampleSettings::fields(DeclaringFields& f);

void InitSettings::fields(Fields& f) {
    f("run", run, "the run, the earlier stage or the name given by --artefact whose network this one begins as");
    f("strict", strict, "refuse where a tensor has no counterpart of its name and shape; otherwise that is said");
    f("average", average,
      "the average of its parameters to begin from; empty: the first there is, none: the parameters");
}

namespace {

const std::vector<std::string> experiment_keys{"name",    "seed",    "seeds", "device",   "threads",
                                               "streams", "plugins", "stage", "ablation", "expect"};
std::vector<std::string> keys_of_stages() {
    std::vector<std::string> keys;
    for (const auto& part : stage_parts) keys.emplace_back(part.kind);
    keys.insert(keys.end(), {"train", "validate", "sample", "init"});
    return keys;
}

struct ExperimentSettings {
    std::string name, device = "cpu", streams;
    std::int64_t seed = 0, threads = 0;
    void fields(Fields& f) {
        f("name", name, "name of the experiment and of its folder of runs");
        f("seed", seed, at_least(0), "one number behind every random number of the run");
        f("device", device, "cpu, cuda or cuda:N");
        f("streams", streams, "of a stage that is run by itself: its name, which its own random numbers go by");
        f("threads", threads, in(0, 1024),
          "threads of one operation; 0: what OMP_NUM_THREADS says, or as many as there are cores to use");
    }
};

struct PluginSettings {
    std::vector<std::string> path;
    void fields(Fields& f) { f("path", path, "folders of plugins, looked in before the usual ones"); }
};

/// Where fields of tables went that earlier versions had.
const std::map<std::string, std::string> moved_fields{
    {"optimizer", "[optimizer] use"},
    {"weight_decay", "[optimizer] weight_decay"},
    {"beta1", "[optimizer] beta1"},
    {"beta2", "[optimizer] beta2"},
    {"eps", "[optimizer] eps"},
    {"decay", "[rate] use, such as \"cosine\""},
    {"ema", "[[average]] use = \"ema\", or `average` in [sample]"},
};

/// Where plugins went that earlier versions had, by kind and name.
const std::map<std::pair<std::string, std::string>, std::string> moved_plugins{
    {{"dataset", "observed"},
     "name the data, its `of`, in [dataset], and what is known in [observation]: use = \"elements\" for `coordinates`, "
     "\"box\" for `hidden`"}};

/// Does the table or text name one of those? Then that is said.
bool has_moved(const char* kind, const toml::node& node, Diagnostics& mistakes) {
    const auto* use = node.is_table() ? node.as_table()->get("use") : &node;
    const auto* name = use ? use->as_string() : nullptr;
    const auto moved = name ? moved_plugins.find({kind, name->get()}) : moved_plugins.end();
    if (moved == moved_plugins.end()) return false;
    mistakes.add(place_of(name->source()), fmt::format("there is no {} `{}` any more", kind, name->get()),
                 moved->second);
    return true;
}

/// `shorthand`: the field that a text in the place of the table means.
template <class Settings>
std::optional<Settings> read_settings(ParseContext& reading, const char* name, toml::table& resolved,
                                      const char* shorthand = nullptr) {
    const auto* node = reading.find(name);
    if (!node) return std::nullopt;
    const auto* table = node->as_table();
    toml::table only;
    if (const auto* text = node->as_string(); text && shorthand) {
        only.insert_or_assign(shorthand, *text);
        table = &only;
    }
    if (!table) {
        reading.mistakes.add(place_of(node->source()), fmt::format("`{}` must be a table, [{}]", name, name));
        return std::nullopt;
    }
    const auto before = reading.mistakes.count();
    Settings settings;
    TomlFields reader(reading, table, fmt::format("[{}]", name));
    settings.fields(reader);
    std::set<std::string> moved;
    for (auto&& [key, value] : *table)
        if (const auto to = moved_fields.find(std::string(key.str())); to != moved_fields.end()) {
            moved.insert(to->first);
            reading.mistakes.add(place_of(key.source()),
                                 fmt::format("[{}] has no field `{}` any more", name, key.str()),
                                 fmt::format("say it in {}", to->second));
        }
    reader.finish(moved);
    if (reading.mistakes.count() > before) return std::nullopt;
    resolved.insert_or_assign(name, reader.resolved());
    return settings;
}

void check_train(const TrainSettings& train, ParseContext& reading) {
    if (train.batch % train.accumulate != 0)
        reading.mistakes.add(
            reading.place("train"),
            fmt::format("a batch of {} cannot be computed in {} equal parts", train.batch, train.accumulate),
            "make `accumulate` a divisor of `batch`");
    if (train.is_strict()) {
        if ((train.parts & (train.parts - 1)) != 0 || train.batch % train.parts != 0)
            reading.mistakes.add(
                reading.place("train"),
                fmt::format("`reduction` = \"strict\" cannot compute a batch of {} in {} equal parts that are added in "
                            "pairs",
                            train.batch, train.parts),
                "make `parts` a power of two that divides `batch`");
        if (train.accumulate > 1)
            reading.mistakes.add(reading.place("train"),
                                 "`reduction` = \"strict\" computes the batch in `parts`, and not in `accumulate`",
                                 "leave `accumulate` out, and make `parts` larger to save memory");
    }
    if (train.warmup >= train.steps)
        reading.mistakes.add(reading.place("train"),
                             fmt::format("`warmup` = {} leaves none of the {} steps at the full learning rate",
                                         train.warmup, train.steps),
                             "make `warmup` smaller than `steps`");
}

void check_validate(ValidateSettings& validate, bool trains, ParseContext& reading) {
    const auto place = reading.place("validate");
    if (!trains)
        reading.mistakes.add(place, "[validate] looks at training, and there is no [train]",
                             "add [train] with steps, or remove [validate]");
    if (validate.n < validate.levels)
        reading.mistakes.add(place,
                             fmt::format("{} pairs leave some of the {} levels empty", validate.n, validate.levels),
                             "make `n` larger, or `levels` smaller");
    auto& ends = validate.log_snr;
    if (!ends.empty() && (ends.size() != 2 || ends[0] == ends[1]))
        reading.mistakes.add(place, "`log_snr` is not two different numbers",
                             "write for example log_snr = [8, -8], or leave it out");
    std::sort(ends.rbegin(), ends.rend());  // from the least noisy
}

/// The list [[kind]], or one [kind].
std::vector<PluginSpec> read_list(StageSpec& stage, const StagePart& part) {
    auto& reading = *stage.reading;
    const auto* kind = part.kind;
    std::vector<PluginSpec> list;
    const auto* node = reading.find(kind);
    if (!node) return list;
    toml::array resolved;
    const auto read = [&](const toml::node& one) {
        if (auto spec = read_plugin(reading, kind, &one, place_of(one.source()), part.labelled)) {
            const auto same = [&](const PluginSpec& other) { return other.label == spec.label; };
            if (part.labelled && std::any_of(list.begin(), list.end(), same))
                reading.mistakes.add(spec.place, fmt::format("two {}s are called `{}`", kind, spec.label),
                                     fmt::format("give one a name of its own: name = \"{} of …\"", spec.label));
            resolved.push_back(spec.resolved);
            list.push_back(std::move(spec));
        }
    };
    if (const auto* array = node->as_array())
        for (const auto& one : *array) read(one);
    else
        read(*node);
    if (!resolved.empty()) stage.resolved.insert_or_assign(kind, std::move(resolved));
    return list;
}

std::vector<PluginSpec> read_part(StageSpec& stage, const StagePart& part) {
    auto& reading = *stage.reading;
    const auto* node = reading.find(part.kind);
    if (part.list && (node || part.when != StagePart::When::training)) return read_list(stage, part);
    if (!node && part.required) {
        reading.mistakes.add(place_of(reading.scopes.front()->source()), fmt::format("there is no [{}]", part.kind),
                             fmt::format("add a table [{}] with use = one of {}", part.kind,
                                         listed(reading.registry.names(part.kind), "or")));
        return {};
    }
    if (node && has_moved(part.kind, *node, reading.mistakes)) return {};
    const bool wanted = part.when == StagePart::When::always ||
                        (part.when == StagePart::When::training && stage.train) ||
                        (part.when == StagePart::When::sampling && stage.sample);
    if (!node && (part.optional || !wanted)) return {};
    auto spec = read_plugin(reading, part.kind, node, reading.place(part.kind));
    if (!spec) return {};
    if (part.list)
        stage.resolved.insert_or_assign(part.kind, toml::array{spec.resolved});
    else
        stage.resolved.insert_or_assign(part.kind, spec.resolved);
    std::vector<PluginSpec> one;
    one.push_back(std::move(spec));
    return one;
}

void read_stage(StageSpec& stage) {
    auto& reading = *stage.reading;
    stage.train = read_settings<TrainSettings>(reading, "train", stage.resolved);
    stage.validate = read_settings<ValidateSettings>(reading, "validate", stage.resolved);
    stage.sample = read_settings<SampleSettings>(reading, "sample", stage.resolved);
    stage.init = read_settings<InitSettings>(reading, "init", stage.resolved, "run");
    if (stage.init && stage.init->run.name().empty())
        reading.mistakes.add(reading.place("init"), "[init] does not say which network to begin as",
                             "init = \"RUN\", the folder of a run that has trained");
    if (stage.sample && stage.sample->starts_from_file()) {
        const auto file = (reading.folder / stage.sample->start).lexically_normal().string();
        stage.sample->start = file;
        stage.resolved["sample"].as_table()->insert_or_assign("start", file);
    }
    if (stage.train) check_train(*stage.train, reading);
    if (stage.validate) check_validate(*stage.validate, reading.find("train"), reading);
    for (const auto& part : stage_parts) {
        if (std::string_view(part.kind) == "sampler") {
            stage.trained_with = reading.chosen;
            stage.training_references = reading.references;
        }
        stage.parts[part.kind] = read_part(stage, part);
    }
    if (!stage.train && !stage.sample && !reading.find("train") && !reading.find("sample") && !reading.find("metric"))
        reading.mistakes.add(place_of(reading.scopes.front()->source()),
                             "there is nothing to do: no [train], no [sample], no [[metric]]",
                             "add [train] with steps, or [sample] with n");
}

/// Tables and keys that no stage and no plugin asked for. Those that plugins needed which others took the place of are
/// no mistake: `laid` is told.
void report_unused(const toml::table& table, const std::set<const toml::node*>& used, bool is_stage,
                   const Registry& registry, Diagnostics& mistakes, Laid& laid) {
    auto known = keys_of_stages();
    for (const auto& kind : registry.kinds())
        if (std::find(known.begin(), known.end(), kind) == known.end()) known.push_back(kind);
    if (is_stage)
        known.emplace_back("name");
    else
        known.insert(known.end(), experiment_keys.begin(), experiment_keys.end());
    const auto always = is_stage ? std::vector<std::string>{"name"} : experiment_keys;
    for (auto&& [key, node] : table) {
        const std::string name(key.str());
        if (std::find(always.begin(), always.end(), name) != always.end() || used.contains(&node)) continue;
        const bool kind = std::find(known.begin(), known.end(), name) != known.end();
        if (kind && !mistakes.empty()) continue;  // whoever uses it may be what is broken
        if (kind && laid.left.contains(name))
            laid.notes.push_back(fmt::format("[{}] is dropped: nothing in this experiment uses it now", name));
        else if (kind)
            mistakes.add(place_of(key.source()), fmt::format("nothing in this experiment uses [{}]", name),
                         fmt::format("remove it, or use a plugin that takes a {}", name));
        else
            mistakes.add(place_of(key.source()), fmt::format("an experiment has no key `{}`", name),
                         did_you_mean(name, known, fmt::format("it has {}", listed(known))));
    }
}

std::int64_t drawn_seed() {
    std::random_device device;
    return static_cast<std::int64_t>(device() & 0x7fffffffu);
}

/// Whoever sent the run in `record` would send plugins with it: those need a word from the user.
void refuse_unasked(const fs::path& folder, bool relative, const std::optional<fs::path>& record, SourceLocation place,
                    Diagnostics& mistakes) {
    if (record && needs_word(folder, relative, *record))
        mistakes.add(std::move(place),
                     fmt::format("plugins from {} would be loaded because a file of the run or study in {} says so",
                                 folder.string(), record->string()),
                     fmt::format("a plugin can do all that you can: if you know whose they are, add --trust '{}'",
                                 folder.string()));
}

/// The folders that the command line and `[plugins] path` add, absolute.
std::vector<fs::path> added_folders(const toml::table& root, const fs::path& file, const Overrides& overrides,
                                    Diagnostics& mistakes) {
    const auto folder = file.parent_path();
    const auto record = overrides.record ? overrides.record : record_around(file);
    std::vector<fs::path> folders;
    for (const auto& path : overrides.plugin_path) {
        folders.push_back(fs::absolute(path).lexically_normal());
        if (overrides.record) refuse_unasked(folders.back(), path.is_relative(), record, {file.string()}, mistakes);
    }
    const auto* node = root.get("plugins");
    if (!node) return folders;
    const auto* table = node->as_table();
    if (!table) {
        mistakes.add(place_of(node->source()), "`plugins` must be a table, [plugins]");
        return folders;
    }
    const Registry none({});
    ParseContext reading{none, mistakes, folder, {&root}};
    PluginSettings settings;
    TomlFields reader(reading, table, "[plugins]");
    settings.fields(reader);
    reader.finish();
    for (const fs::path path : settings.path) {
        folders.push_back((path.is_absolute() ? path : folder / path).lexically_normal());
        const auto place = place_of(table->get("path")->source());
        refuse_unasked(folders.back(), path.is_relative(), record, place, mistakes);
        if (!fs::is_directory(folders.back()))
            mistakes.add(place_of(table->get("path")->source()),
                         fmt::format("there is no folder {}", folders.back().string()));
    }
    return folders;
}

std::map<std::string, fs::path> named_artefacts(const std::vector<std::string>& list, Diagnostics& mistakes) {
    std::map<std::string, fs::path> named;
    for (const auto& one : list) {
        const auto equals = one.find('=');
        const auto path = equals == one.npos ? fs::path() : fs::absolute(one.substr(equals + 1)).lexically_normal();
        const SourceLocation place{"--artefact " + one, 0, 0, 1};
        mistakes.remember(place.source, one);
        if (equals == 0 || equals == one.npos)
            mistakes.add(place, "it does not say NAME=PATH",
                         "write for example --artefact classifier=runs/classifier/latest");
        else if (const auto problem = name_problem(one.substr(0, equals)); !problem.empty())
            mistakes.add(place, fmt::format("the name before the = {}", problem), name_cure);
        else if (!fs::exists(path))
            mistakes.add(place, fmt::format("there is no {}", path.string()),
                         "give the folder of a run that has trained");
        else
            named[one.substr(0, equals)] = path;
    }
    return named;
}

}  // namespace

std::map<std::string, std::vector<DeclaredField>> declared_settings() {
    const auto of = [](auto settings) {
        DeclaringFields declaring;
        settings.fields(declaring);
        return std::move(declaring.found);
    };
    return {{"", of(ExperimentSettings())},       {"plugins", of(PluginSettings())}, {"train", of(TrainSettings())},
            {"validate", of(ValidateSettings())}, {"sample", of(SampleSettings())},  {"init", of(InitSettings())}};
}

const std::vector<PluginSpec>& StageSpec::list(const std::string& kind) const {
    static const std::vector<PluginSpec> none;
    const auto found = parts.find(kind);
    return found == parts.end() ? none : found->second;
}

const PluginSpec& StageSpec::part(const std::string& kind) const {
    static const PluginSpec none;
    const auto& all = list(kind);
    return all.empty() ? none : all.front();
}

Experiment read_experiment(const fs::path& file, const Overrides& overrides, std::unique_ptr<Registry>& registry,
                           Diagnostics& mistakes) {
    Experiment experiment;
    experiment.file = fs::absolute(file);
    const auto folder = experiment.file.parent_path();
    auto set = overrides.set;
    if (overrides.seed) set.push_back(fmt::format("seed={}", *overrides.seed));
    if (overrides.device) set.push_back(fmt::format("device=\"{}\"", *overrides.device));
    for (const auto& [one, place] : overrides.places) mistakes.stands_at("--set " + one, place);
    const auto plain = read_toml(file, set, mistakes);
    if (!mistakes.empty()) return experiment;
    experiment.text = read_file(file);
    // Each once, though the command line and the file may both name it.
    for (const auto& added : added_folders(plain, experiment.file, overrides, mistakes))
        if (auto& all = experiment.plugin_path; std::find(all.begin(), all.end(), added) == all.end())
            all.push_back(added);
    if (!mistakes.empty()) return experiment;
    experiment.artefacts = named_artefacts(overrides.artefacts, mistakes);
    if (const auto folders = plugin_folders(experiment.plugin_path); !registry || registry->folders() != folders)
        registry = std::make_unique<Registry>(folders);

    const Parts parts(*registry);
    Laid laid;
    experiment.root = std::make_shared<toml::table>(read_toml(file, mistakes));
    lay_over(*experiment.root, set, parts, mistakes, laid);
    const auto again = [&] {
        Diagnostics same;
        Laid as_well;
        auto copy = read_toml(file, same);
        lay_over(copy, set, parts, same, as_well);
        return copy;
    };
    lay_stages(*experiment.root, parts, again, laid);
    const auto& root = *experiment.root;

    ParseContext reading{*registry, mistakes, folder, {&root}};
    ExperimentSettings settings;
    settings.name = file.stem().string();
    TomlFields reader(reading, &root, "the experiment");
    settings.fields(reader);
    experiment.name = settings.name;
    experiment.device = settings.device;
    experiment.device_place = reading.place("device");
    experiment.threads = settings.threads;
    experiment.seed = root.contains("seed") ? settings.seed : drawn_seed();
    check_stream_seeds(reading);
    if (const auto problem = name_problem(experiment.name); !problem.empty())
        mistakes.add(reading.place("name"),
                     fmt::format("`name` = \"{}\" cannot be the name of a folder: it {}", experiment.name, problem),
                     name_cure);

    auto used = laid.hidden;
    const auto* stages = root.get("stage");
    if (stages && !stages->is_array_of_tables())
        mistakes.add(place_of(stages->source()), "`stage` must be a list of tables, [[stage]]");
    if (stages && stages->is_array_of_tables()) {
        for (const auto& node : *stages->as_array()) {
            const auto& table = *node.as_table();
            auto& stage = experiment.stages.emplace_back();
            stage.reading.reset(new ParseContext{*registry, mistakes, folder, {&table, &root}});
            const auto* name = table.get("name");
            if (name && name->is_string())
                stage.name = stage.streams = name->as_string()->get();
            else
                mistakes.add(place_of(name ? *name : table), "a stage needs a `name`, a text");
            if (const auto problem = stage_name_problem(stage.name); name && name->is_string() && !problem.empty())
                mistakes.add(place_of(*name),
                             fmt::format("the stage's `name` = \"{}\" cannot be the name of its folder: it {}",
                                         stage.name, problem),
                             name_cure);
            for (std::size_t i = 0; i + 1 < experiment.stages.size(); ++i)
                if (experiment.stages[i].name == stage.name)
                    mistakes.add(place_of(table.source()), fmt::format("two stages are named `{}`", stage.name));
            read_stage(stage);
            used.insert(stage.reading->used.begin(), stage.reading->used.end());
        }
        for (std::size_t i = 0; i < experiment.stages.size(); ++i)
            report_unused(*experiment.stages[i].reading->scopes[0], used, true, *registry, mistakes, laid);
    } else {
        auto& stage = experiment.stages.emplace_back();
        stage.reading.reset(new ParseContext{*registry, mistakes, folder, {&root}});
        stage.streams = settings.streams;
        read_stage(stage);
        used.insert(stage.reading->used.begin(), stage.reading->used.end());
    }
    report_unused(root, used, false, *registry, mistakes, laid);
    read_expectations(experiment, mistakes);
    experiment.notes = std::move(laid.notes);
    return experiment;
}

std::vector<std::string> Overrides::words() const {
    std::vector<std::string> all;
    const auto add = [&](const char* option, const std::string& value) { all.insert(all.end(), {option, value}); };
    for (const auto& one : set) add("--set", one);
    if (seed) add("--seed", fmt::format("{}", *seed));
    if (device) add("--device", *device);
    for (const auto& folder : plugin_path) add("--plugin-path", folder.string());
    for (const auto& one : artefacts) add("--artefact", one);
    return all;
}

namespace {
toml::table head(const Experiment& experiment) {
    toml::table table{{"name", experiment.name},
                      {"seed", experiment.seed},
                      {"device", experiment.device},
                      {"threads", experiment.threads}};
    if (auto own = own_stream_seeds(*experiment.root, experiment.seed); !own.empty())
        table.insert_or_assign("seeds", std::move(own));
    if (!experiment.plugin_path.empty()) {
        toml::array paths;
        for (const auto& path : experiment.plugin_path) paths.push_back(path.string());
        table.insert_or_assign("plugins", toml::table{{"path", std::move(paths)}});
    }
    return table;
}

void lay_into(toml::table& table, const toml::table& more) {
    for (auto&& [key, node] : more)
        node.visit([&, &key = key](const auto& value) { table.insert_or_assign(key, value); });
}
}  // namespace

std::string Experiment::resolved() const {
    if (!root->contains("stage")) return resolved(stages.front());
    auto table = head(*this);
    toml::array list;
    for (const auto& stage : stages) {
        auto one = stage.resolved;
        one.insert_or_assign("name", stage.name);
        list.push_back(std::move(one));
    }
    table.insert_or_assign("stage", std::move(list));
    return toml_text(table);
}

std::string Experiment::resolved(const StageSpec& stage) const {
    auto table = head(*this);
    if (!stage.streams.empty()) table.insert_or_assign("streams", stage.streams);
    lay_into(table, stage.resolved);
    return toml_text(table);
}

}  // namespace dtk
