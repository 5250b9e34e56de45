// dtk diff and dtk compare
#include <glob.h>

#include <algorithm>
#include <functional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/engine.hpp"
#include "base/words.hpp"
#include "cli/runs.hpp"
#include "study/tables.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

using Settings = std::map<std::string, std::string>;
using Texts = std::map<std::string, std::string>;

/// The run of that name, which is one whose experiment is known.
Record run_of(const std::string& text) {
    auto record = find_record(text);
    if (record.what == Record::What::damaged)
        throw UserError(fmt::format("{} is damaged: {}", record.folder.string(), record.problem));
    if (record.what == Record::What::study)
        throw UserError(fmt::format("{} is a study", record.folder.string()),
                        fmt::format("its arms are compared by its report: dtk report {}; its cells lie in {}",
                                    typed(record.folder), typed(record.folder / "tasks")));
    return record;
}

struct Change {
    std::string key;
    std::optional<std::string> before, after;
};

std::vector<Change> changes(const Texts& before, const Texts& after) {
    std::set<std::string> keys;
    for (const auto* texts : {&before, &after})
        for (const auto& [key, value] : *texts) keys.insert(key);
    std::vector<Change> all;
    for (const auto& key : keys) {
        const auto of = [&](const Texts& texts) {
            return texts.contains(key) ? std::optional(texts.at(key)) : std::nullopt;
        };
        if (of(before) != of(after)) all.push_back({key, of(before), of(after)});
    }
    return all;
}

/// What a run was made by, apart from its experiment: versions, machine, data, plugins.
Texts makers(const Record& r) {
    Texts all;
    for (const auto* path : {"/dtk/version", "/dtk/build", "/host/name", "/host/cpu", "/host/os", "/device"})
        if (const auto text = field_of(r, path); !text.empty()) all[std::string(path).substr(1)] = text;
    if (const auto threads = r.content.value("threads", json()); threads.is_number()) all["threads"] = threads.dump();
    if (const auto data = r.content.value("data", json()); data.is_object())
        for (const auto& [stage, hash] : data.items())
            if (hash.is_string())
                all[stage == "sha256" ? "data" : "data of " + stage] = hash.get<std::string>().substr(0, 12);
    for (const auto& [name, plugin] : plugins_of(r))
        all["plugin " + name] = plugin["sha256"].get<std::string>().substr(0, 12);
    return all;
}

const Measured* measured(const Record& r, const std::string& metric) {
    const auto at =
        std::find_if(r.measured.begin(), r.measured.end(), [&](const Measured& m) { return m.metric == metric; });
    return at == r.measured.end() ? nullptr : &*at;
}

/// Names of all metrics, in the order in which the runs have them.
std::vector<std::string> metrics_of(const std::vector<Record>& runs) {
    std::vector<std::string> all;
    for (const auto& r : runs)
        for (const auto& m : r.measured)
            if (std::find(all.begin(), all.end(), m.metric) == all.end()) all.push_back(m.metric);
    return all;
}

json to_json(const std::vector<Change>& all) {
    json list = json::array();
    for (const auto& [key, before, after] : all)
        list.push_back({{"key", key},
                        {"before", before ? json(*before) : json(nullptr)},
                        {"after", after ? json(*after) : json(nullptr)}});
    return list;
}

void print_changes(const char* heading, const char* none, const std::vector<Change>& all) {
    if (all.empty()) {
        fmt::print("{}\n\n", none);
        return;
    }
    std::vector<std::vector<std::string>> rows{{heading, "before", "after"}};
    for (const auto& [key, before, after] : all)
        rows.push_back({key, before.value_or("(not there)"), after.value_or("(not there)")});
    print_table(rows);
    fmt::print("\n");
}

/// Runs of one experiment, by seed.
struct AlikeRuns {
    Settings settings;  ///< without name and seed
    std::map<std::int64_t, Record> runs;
};

std::vector<std::string> expanded(const std::string& text) {
    if (text.find_first_of("*?[") != text.npos && !fs::exists(text)) {
        glob_t found{};
        std::vector<std::string> all;
        if (::glob(text.c_str(), 0, nullptr, &found) == 0)
            for (std::size_t i = 0; i < found.gl_pathc; ++i)
                if (!fs::is_symlink(found.gl_pathv[i])) all.emplace_back(found.gl_pathv[i]);
        ::globfree(&found);
        if (all.empty()) throw UserError(fmt::format("nothing matches {}", text), "`dtk ls` shows what there is");
        return all;
    }
    // A folder that is no run stands for those in it.
    if (fs::is_directory(text) && read_record(text).what == Record::What::foreign) {
        std::vector<std::string> all;
        for (const auto& record : records_in(text))
            if (record.is_run() || record.what == Record::What::sample) all.push_back(record.folder.string());
        if (!all.empty()) return all;
    }
    return {text};
}

std::vector<Record> runs_of(const std::vector<std::string>& texts) {
    std::vector<Record> all;
    std::set<fs::path> seen;
    for (const auto& text : texts)
        for (const auto& one : expanded(text)) {
            auto record = run_of(one);
            if (!seen.insert(fs::canonical(record.folder)).second) continue;
            if (record.status == "completed")
                all.push_back(std::move(record));
            else
                fmt::print(stderr, "left out  {}: {}\n", typed(record.folder), record.status);
        }
    // Trainings of a study, say, beside the samples that were measured.
    const auto silent = [](const Record& record) { return record.measured.empty(); };
    if (std::any_of(all.begin(), all.end(), std::not_fn(silent)))
        if (const auto n = std::erase_if(all, silent)) fmt::print(stderr, "left out  {} that measured nothing\n", n);
    if (all.empty()) throw UserError("there is no completed run to compare", "`dtk ls` shows what there is");
    return all;
}

std::vector<AlikeRuns> grouped(const std::vector<Record>& runs) {
    std::vector<AlikeRuns> all;
    for (const auto& r : runs) {
        auto settings = settings_of(r);
        settings.erase("seed"), settings.erase("name");
        auto group =
            std::find_if(all.begin(), all.end(), [&](const AlikeRuns& one) { return one.settings == settings; });
        if (group == all.end()) group = all.insert(all.end(), {std::move(settings), {}});
        auto& place = group->runs[r.seed.value_or(0)];
        const bool first = place.folder.empty(), newer = place.started < r.started;
        if (!first)
            fmt::print(stderr, "left out  {}: {} is a newer run of the same experiment and seed\n",
                       typed((newer ? place : r).folder), typed((newer ? r : place).folder));
        if (first || newer) place = r;
    }
    return all;
}

/// Keys that not all groups have alike.
std::vector<std::string> differing(const std::vector<AlikeRuns>& groups) {
    std::set<std::string> keys;
    for (const auto& group : groups)
        for (const auto& change : changes(groups.front().settings, group.settings)) keys.insert(change.key);
    return {keys.begin(), keys.end()};
}

/// Those of them that a person reads: fields of a plugin that one group has and another has not say no more than its
/// name.
std::vector<std::string> telling(const std::vector<AlikeRuns>& groups, std::vector<std::string> keys) {
    std::erase_if(keys, [&](const std::string& key) {
        const auto owner = key.substr(0, key.rfind('.')) + ".use";
        if (key == owner || std::find(keys.begin(), keys.end(), owner) == keys.end()) return false;
        std::map<std::string, std::set<std::string>> values;  // by the plugin's name
        for (const auto& group : groups)
            if (group.settings.contains(key) && group.settings.contains(owner))
                values[group.settings.at(owner)].insert(group.settings.at(key));
        return std::all_of(values.begin(), values.end(), [](const auto& one) { return one.second.size() == 1; });
    });
    return keys;
}

std::string setting(const AlikeRuns& group, const std::string& key) {
    return group.settings.contains(key) ? group.settings.at(key) : "–";
}

/// As columns so many keys would fit no screen: they stand in a table of their own, a column for each experiment, which
/// then has a number.
std::vector<std::string> numbered(std::vector<AlikeRuns>& groups, const std::vector<std::string>& keys) {
    constexpr std::size_t most = 8;
    if (keys.size() <= most) return keys;
    std::vector<std::vector<std::string>> rows{{"experiment"}};
    for (std::size_t i = 0; i < groups.size(); ++i) rows[0].push_back(std::to_string(i + 1));
    for (const auto& key : keys) {
        auto& row = rows.emplace_back(std::vector{key});
        for (const auto& group : groups) row.push_back(setting(group, key));
    }
    print_table(rows);
    fmt::print("\n");
    for (std::size_t i = 0; i < groups.size(); ++i) groups[i].settings["experiment"] = std::to_string(i + 1);
    return {"experiment"};
}

std::size_t baseline_of(const std::vector<AlikeRuns>& groups, const std::string& text) {
    std::vector<std::size_t> found;
    if (const auto equals = text.find('='); equals != text.npos && !fs::exists(text)) {
        const auto key = text.substr(0, equals), value = text.substr(equals + 1);
        for (std::size_t i = 0; i < groups.size(); ++i)
            if (setting(groups[i], key) == value) found.push_back(i);
    } else {
        const auto folder = fs::canonical(run_of(text).folder);
        for (std::size_t i = 0; i < groups.size(); ++i)
            for (const auto& [seed, r] : groups[i].runs)
                if (fs::canonical(r.folder) == folder) found.push_back(i);
    }
    if (found.size() != 1)
        throw UserError(fmt::format("`--baseline {}` is {} of the groups that are compared", text,
                                    found.empty() ? "none" : "more than one"),
                        "name one of the runs, or a KEY=VALUE that only one group has");
    return found.front();
}

/// One metric in every group, as a study would have it: by seed, and held against the baseline where there is one.
MetricResults compared(const std::vector<AlikeRuns>& groups, const std::string& metric,
                       std::optional<std::size_t> baseline, double level) {
    std::set<std::int64_t> seeds;
    for (const auto& group : groups)
        for (const auto& [seed, r] : group.runs) seeds.insert(seed);
    MetricResults all{.name = metric};
    for (const auto& group : groups)
        for (const auto& [seed, r] : group.runs)
            if (const auto* m = measured(r, metric); m && !all.better) all.better = m->better;
    for (const auto& group : groups) {
        auto& score = all.arms.emplace_back();
        for (const auto seed : seeds) {
            const auto run = group.runs.find(seed);
            const auto* m = run == group.runs.end() ? nullptr : measured(run->second, metric);
            score.cells.push_back(m ? score_of(*m) : CellScore{});
            if (m && std::isfinite(m->expected)) {
                score.expected = m->expected;
                score.expected_sd = m->expected_sd;
            }
        }
        score.compared = compared_of(score.cells, seeds.size(), all.less());
        if (std::any_of(score.compared.begin(), score.compared.end(), [](const auto& one) { return one.has_value(); }))
            score.mean = estimate(score.compared, level);
    }
    all.family = {level, groups.size() - 1};
    if (!baseline) return all;
    std::vector<Difference*> tested;
    for (std::size_t i = 0; i < groups.size(); ++i) {
        if (i == *baseline) continue;
        all.arms[i].difference = difference(all.arms[*baseline].compared, all.arms[i].compared, all.family);
        tested.push_back(&all.arms[i].difference);
    }
    adjust(tested);
    return all;
}

/// What the numbers of a metric were measured under differs in: "n is 500 and 1000"; empty where their cards agree.
std::string cards_differ(const std::vector<AlikeRuns>& groups, const std::string& metric) {
    std::map<std::string, std::set<std::string>> values;
    for (const auto& group : groups)
        for (const auto& [seed, r] : group.runs)
            if (const auto* m = measured(r, metric); m && m->card.is_object())
                for (const auto& [key, value] : m->card.items())
                    if (key != "evaluations") values[key].insert(value.dump());
    std::vector<std::string> parts;
    for (const auto& [key, seen] : values)
        if (seen.size() > 1) parts.push_back(fmt::format("{} is {}", key, fmt::join(seen, " and ")));
    return listed(parts);
}

/// Numbers that were not measured alike are not ranked, unless that is asked for.
void refuse_other_cards(const std::vector<AlikeRuns>& groups, const std::vector<std::string>& metrics) {
    std::vector<std::string> parts;
    for (const auto& metric : metrics)
        if (const auto text = cards_differ(groups, metric); !text.empty())
            parts.push_back(fmt::format("of {} {}", metric, text));
    if (!parts.empty())
        throw UserError(fmt::format("these numbers were not measured alike: {}", fmt::join(parts, "; ")),
                        "compare runs that were, or say --other-cards, and they are compared nevertheless");
}

void print_runs(const std::vector<AlikeRuns>& groups, const std::vector<std::string>& keys,
                const std::vector<std::string>& metrics) {
    std::vector<std::vector<std::string>> rows{{"run"}};
    rows[0].insert(rows[0].end(), keys.begin(), keys.end());
    rows[0].push_back("seed");
    rows[0].insert(rows[0].end(), metrics.begin(), metrics.end());
    for (const auto& group : groups)
        for (const auto& [seed, r] : group.runs) {
            auto& row = rows.emplace_back(std::vector{typed(r.folder)});
            for (const auto& key : keys) row.push_back(setting(group, key));
            row.push_back(r.seed ? std::to_string(*r.seed) : "");
            for (const auto& metric : metrics)
                if (const auto* m = measured(r, metric))
                    row.push_back(dtk::in_words(*m));
                else
                    row.push_back("–");
        }
    print_table(rows);
}

std::string interval_text(const Estimate& e) {
    return e.interval   ? fmt::format("[{:.4g}, {:.4g}]", e.interval->first, e.interval->second)
           : e.constant ? std::string("the same with every seed")
           : e.n == 1   ? std::string("n = 1, no interval")
                        : std::string("none");
}

std::string interval_text(const Difference& d) {
    return d.simultaneous ? fmt::format("[{:.4g}, {:.4g}]", d.simultaneous->first, d.simultaneous->second)
           : d.exact      ? std::string("no seed matters")
                          : interval_text(d.estimate);
}

void print_groups(const std::vector<AlikeRuns>& groups, const std::vector<std::string>& keys,
                  const std::vector<std::string>& metrics, std::optional<std::size_t> baseline, double level) {
    for (const auto& metric : metrics) {
        std::vector<std::vector<std::string>> rows{keys};
        for (const auto& heading : {metric + ", mean", fmt::format("{:g} % interval", 100 * level), std::string("n"),
                                    std::string("true samples ± sd")})
            rows[0].push_back(heading);
        if (baseline)
            for (const auto* heading : {"difference", "simultaneous interval", "pairs", "Holm p", "verdict"})
                rows[0].emplace_back(heading);
        const auto all = compared(groups, metric, baseline, level);
        bool skewed = false;
        for (std::size_t i = 0; i < groups.size(); ++i) {
            const auto& s = all.arms[i];
            auto& row = rows.emplace_back();
            for (const auto& key : keys) row.push_back(setting(groups[i], key));
            row.push_back(mean_text(s));
            row.push_back(s.has_mean() ? interval_text(s.mean) : "");
            row.push_back(std::to_string(s.mean.n));
            row.push_back(std::isfinite(s.expected) ? fmt::format("{:.4g} ± {:.2g}", s.expected, s.expected_sd) : "");
            if (!baseline) continue;
            if (i == *baseline) {
                row.push_back("baseline");
                continue;
            }
            const auto& d = s.difference;
            row.push_back(d.estimate.n == 0                ? "no seed in common"
                          : std::isfinite(d.estimate.mean) ? fmt::format("{:+.4g}", d.estimate.mean)
                                                           : "infinite");
            row.push_back(d.estimate.n ? interval_text(d) : "");
            row.push_back(std::to_string(d.estimate.n));
            row.push_back(d.p_holm ? fmt::format("{:.2g}", *d.p_holm) : "");
            row.push_back(name_of(verdict_of(d, all)));
            skewed = skewed || d.skewed.value_or(false);
        }
        fmt::print("\n");
        print_table(rows);
        fmt::print("What counts: {}.\n", direction_text(all));
        if (skewed) fmt::print("The differences are visibly skewed: their interval is too hopeful.\n");
    }
    if (baseline)
        fmt::print("\nDifferences are paired by seed; those of one metric hold together, those of several do not.\n");
}

json compare_json(const std::vector<AlikeRuns>& groups, const std::vector<std::string>& keys,
                  const std::vector<std::string>& metrics, std::optional<std::size_t> baseline, double level) {
    json list = json::array();
    for (std::size_t i = 0; i < groups.size(); ++i) {
        json one{{"settings", json::object()},
                 {"runs", json::array()},
                 {"baseline", baseline == i},
                 {"metrics", json::object()}};
        for (const auto& key : keys)
            one["settings"][key] = groups[i].settings.contains(key) ? json(groups[i].settings.at(key)) : json(nullptr);
        for (const auto& [seed, r] : groups[i].runs) {
            json values = json::object();
            for (const auto& m : r.measured) values[m.metric] = cli::to_json(m);
            one["runs"].push_back({{"folder", r.folder.string()}, {"seed", seed}, {"metrics", values}});
        }
        list.push_back(std::move(one));
    }
    for (const auto& metric : metrics) {
        const auto all = compared(groups, metric, baseline, level);
        for (std::size_t i = 0; i < groups.size(); ++i)
            list[i]["metrics"][metric] = score_json(all.arms[i], all, !baseline || i == *baseline);
    }
    return {{"level", level}, {"differing", keys}, {"groups", list}};
}

}  // namespace

int diff_runs(const std::string& before, const std::string& after, bool as_json) {
    const auto a = run_of(before), b = run_of(after);
    const auto settings = changes(settings_of(a), settings_of(b)), made = changes(makers(a), makers(b));
    const auto metrics = metrics_of({a, b});
    if (as_json) {
        json values = json::array();
        for (const auto& metric : metrics) {
            const auto *x = measured(a, metric), *y = measured(b, metric);
            values.push_back({{"metric", metric},
                              {"before", x ? cli::to_json(*x) : json(nullptr)},
                              {"after", y ? cli::to_json(*y) : json(nullptr)}});
        }
        fmt::print("{}\n", json{{"before", a.folder.string()},
                                {"after", b.folder.string()},
                                {"experiment", to_json(settings)},
                                {"made_by", to_json(made)},
                                {"metrics", values}}
                               .dump(2, ' ', false, json::error_handler_t::replace));
        return done;
    }
    fmt::print("before  {}\nafter   {}\n\n", typed(a.folder), typed(b.folder));
    print_changes("experiment", "the experiments are the same, every field", settings);
    if (a.is_run() && b.is_run()) print_changes("made by", "plugins, versions, machine and data are the same", made);
    std::vector<std::vector<std::string>> rows{{"metric", "before", "after", "after − before"}};
    for (const auto& metric : metrics) {
        const auto *x = measured(a, metric), *y = measured(b, metric);
        rows.push_back({metric, x ? dtk::in_words(*x) : "–", y ? dtk::in_words(*y) : "–",
                        !x || !y               ? ""
                        : x->value == y->value ? "the same bits"
                                               : fmt::format("{:+.4g}", y->value - x->value)});
    }
    if (rows.size() > 1)
        print_table(rows);
    else
        fmt::print("neither has measured anything\n");
    return done;
}

int compare_runs(const CompareRequest& request) {
    const auto runs = runs_of(request.runs);
    auto groups = grouped(runs);
    const auto keys = differing(groups);
    const auto metrics = metrics_of(runs);
    const auto baseline = request.baseline ? std::optional(baseline_of(groups, *request.baseline)) : std::nullopt;
    if (!request.other_cards && groups.size() > 1) refuse_other_cards(groups, metrics);
    if (request.json) {
        fmt::print("{}\n", compare_json(groups, keys, metrics, baseline, request.level)
                               .dump(2, ' ', false, json::error_handler_t::replace));
        return done;
    }
    const auto shown = numbered(groups, telling(groups, keys));
    print_runs(groups, shown, metrics);
    const bool several =
        std::any_of(groups.begin(), groups.end(), [](const AlikeRuns& group) { return group.runs.size() > 1; });
    if (several || baseline) print_groups(groups, shown, metrics, baseline, request.level);
    if (!several)
        fmt::print(
            "\nEvery experiment ran with one seed: what another seed would give, and so whether a difference means "
            "anything, is not known.\n");
    return done;
}

}  // namespace dtk::cli
