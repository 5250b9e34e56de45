#include "engine/going_on.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/engine.hpp"
#include "base/words.hpp"
#include "engine/trainer.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;
using Kind = Change::Kind;

namespace {

std::string lines(const std::vector<Change>& changes) {
    std::string text;
    for (const auto& change : changes) {
        const auto own = change.stage.empty() ? change.key : change.stage + ": " + change.key;
        text += fmt::format("\n  then: {} = {}\n  now:  {} = {}", own, change.before, own, change.after);
    }
    return text;
}

std::vector<Change> of_kind(const std::vector<Change>& changes, Kind kind) {
    std::vector<Change> some;
    std::copy_if(changes.begin(), changes.end(), std::back_inserter(some),
                 [&](const Change& change) { return change.kind == kind; });
    return some;
}

bool is_of_training(const Change& change) { return change.kind == Kind::steps || change.kind == Kind::law; }

void refuse_what_was_learned(const fs::path& run, const std::vector<Change>& changes) {
    const auto refused = of_kind(changes, Kind::refused);
    if (refused.empty()) return;
    throw UserError(
        fmt::format("{} was run with another experiment:{}", run.string(), lines(refused)),
        fmt::format("what has been learned so far rests on {}: go on with the experiment as it was, or begin a fresh "
                    "run, with these weights where they fit: init = \"{}\"",
                    refused.size() == 1 ? "it" : "them", run.string()));
}

void refuse_what_nobody_asked_for(const fs::path& run, const std::vector<Change>& changes,
                                  const std::vector<std::string>& set) {
    auto unasked = of_kind(changes, Kind::law);
    std::erase_if(unasked, [&](const Change& change) { return is_set(change, set); });
    if (unasked.empty()) return;
    std::vector<std::string> as_now, as_then;
    for (const auto& change : unasked) {
        const auto key = change.stage.empty() ? change.key : fmt::format("stage.{}.{}", change.stage, change.key);
        if (!change.after.empty()) as_now.push_back("--set " + shell_word(key + "=" + change.after));
        if (!change.before.empty()) as_then.push_back("--set " + shell_word(key + "=" + change.before));
    }
    throw UserError(
        fmt::format("{} would be trained on with another experiment than before:{}", run.string(), lines(unasked)),
        fmt::format("if it is to go on so, say it: {}; as it was: {}", fmt::join(as_now, " "),
                    fmt::join(as_then, " ")));
}

/// A network that others were trained with stays as it is.
void refuse_what_others_stand_on(const Experiment& experiment, const std::map<std::string, Standing>& standings,
                                 const std::vector<Change>& changes) {
    for (const auto& change : changes) {
        if (!is_of_training(change)) continue;
        bool later = false;
        for (const auto& stage : experiment.stages) {
            if (later && standings.at(stage.name).checkpoint)
                throw UserError(
                    fmt::format("{}, and stage `{}` has been trained after it already", change.text(), stage.name),
                    "begin a fresh run");
            later = later || stage.name == change.stage;
        }
    }
}

std::int64_t whole(const std::string& text) { return std::atoll(text.c_str()); }

/// Would the rate of any step have been another, had the training been so long from the beginning?
bool another_law(const TrainSettings& now, std::int64_t steps_then, const Rate& law) {
    auto then = now;
    then.steps = steps_then;
    const auto both = std::min(now.steps, steps_then);
    const auto stride = std::max<std::int64_t>(1, both / 10'000);
    for (std::int64_t step = 0; step < both; step += stride)
        if (learning_rate(then, law, step) != learning_rate(now, law, step)) return true;
    return false;
}

}  // namespace

GoingOn go_on(const RunFolder& run, const Loaded& loaded, const std::map<std::string, std::shared_ptr<Stage>>& stages,
              const std::map<std::string, Standing>& standings, const std::vector<std::string>& set,
              bool accept_changed) {
    const auto& experiment = loaded.experiment;
    Diagnostics unreadable;
    const auto then = read_toml(run.path() / "resolved.toml", unreadable);
    if (!unreadable.empty())
        throw Error(fmt::format("what was run in {} is not known:\n{}", run.path().string(), unreadable.text()),
                    "put a copy of resolved.toml back");
    const auto changes = changes_between(then, toml::parse(experiment.resolved()));
    refuse_what_was_learned(run.path(), changes);
    refuse_what_nobody_asked_for(run.path(), changes, set);
    refuse_what_others_stand_on(experiment, standings, changes);

    GoingOn going{.entry = {{"time", utc_now()}, {"from", json::object()}, {"changes", json::array()}}, .notes = {}};
    const auto add = [&](const Change& change, bool law, std::int64_t step, const std::string& more = {}) {
        auto text = change.text() + more;
        if (is_of_training(change)) text = fmt::format("from step {}: {}", step, text);
        going.entry["changes"].push_back({{"stage", change.stage},
                                          {"key", change.key},
                                          {"before", change.before},
                                          {"after", change.after},
                                          {"law", law},
                                          {"text", text}});
        going.notes.push_back(std::move(text));
        going.only_idle = going.only_idle && change.kind == Kind::idle;
    };
    for (const auto& [name, standing] : standings)
        if (standing.checkpoint)
            going.entry["from"][name.empty() ? "run" : name] = {
                {"step", standing.step}, {"checkpoint", standing.checkpoint->filename().string()}};

    for (const auto& change : changes) {
        const auto standing = standings.find(change.stage);
        const auto step = standing == standings.end() ? 0 : standing->second.step;
        if (change.kind != Kind::steps) {
            add(change, change.kind == Kind::law, step);
            continue;
        }
        const auto& stage = *stages.at(change.stage);
        const auto& settings = *stage.spec().train;
        if (settings.steps < step)
            throw UserError(
                fmt::format("{} has come to step {} already, and `train.steps` is {}", run.path().string(), step,
                            settings.steps),
                fmt::format("give at least {}; an earlier checkpoint is sampled with `dtk sample --step`", step));
        const auto& law = *stage.part<Rate>();
        auto before = settings;
        before.steps = whole(change.before);
        const bool is_law = another_law(settings, before.steps, law);
        add(change, is_law, step,
            is_law ? fmt::format(", and with it the learning rate of that step, {:.4g} → {:.4g}",
                                 learning_rate(before, law, step), learning_rate(settings, law, step))
                   : "");
    }

    const bool has_learned = std::any_of(standings.begin(), standings.end(),
                                         [](const auto& one) { return one.second.checkpoint.has_value(); });
    std::string others;
    const auto compare = [&](const std::string& what, const std::string& key, const std::string& was,
                             const std::string& is) {
        if (was.empty() || was == is || !has_learned) return;
        others += fmt::format("\n  {}: SHA-256 {}… then, {} now", what, was.substr(0, 12),
                              is.empty() ? "none" : is.substr(0, 12) + "…");
        add({"", key, was, is, Kind::law}, true, standings.begin()->second.step);
    };
    const auto data = run.record().value("data", json::object());
    for (const auto& [name, stage] : stages)
        compare(name.empty() ? "the data" : "the data of stage " + name, name.empty() ? "data" : "data of " + name,
                data.value(name.empty() ? "sha256" : name, std::string()), stage->dataset().fingerprint());
    const auto plugins = run.record().value("plugins", json::array());
    for (const auto& now : plugin_records(experiment, true))
        for (const auto& was : plugins)
            if (was["kind"] == now["kind"] && was["name"] == now["name"])
                compare(fmt::format("{} plugin `{}`", now["kind"].get<std::string>(), now["name"].get<std::string>()),
                        "plugin " + now["name"].get<std::string>(), was["sha256"], now["sha256"]);
    if (!others.empty() && !accept_changed)
        throw UserError(fmt::format("what is there is not what {} was trained with:{}", run.path().string(), others),
                        "bring it back as it was; or go on with what is there and have it recorded: --accept-changed");
    return going;
}

}  // namespace dtk
