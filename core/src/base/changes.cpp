#include "base/changes.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/experiment.hpp"

namespace dtk {

namespace {

using Kind = Change::Kind;

/// Of a key of [train] or of the top of a file; those that stand nowhere here decide what is learned.
const std::map<std::string, Kind> kinds_of_keys{{"device", Kind::idle},
                                                {"threads", Kind::idle},
                                                {"plugins", Kind::idle},
                                                {"train.log_every", Kind::idle},
                                                {"train.checkpoint_every", Kind::idle},
                                                {"train.checkpoint_minutes", Kind::idle},
                                                {"train.keep", Kind::idle},
                                                {"train.keep_every", Kind::idle},
                                                {"train.sample_every", Kind::idle},
                                                {"train.snapshot_every", Kind::idle},
                                                {"train.recompute", Kind::idle},  // the same bits
                                                {"train.reduction", Kind::idle},  // of rounding, as threads
                                                {"train.parts", Kind::idle},
                                                {"validate.every", Kind::idle},
                                                {"train.steps", Kind::steps},
                                                {"train.lr", Kind::law},
                                                {"train.warmup", Kind::law},
                                                {"train.clip", Kind::law},
                                                {"train.drop_condition", Kind::law},
                                                {"train.precision", Kind::law},
                                                {"train.accumulate", Kind::law},
                                                {"optimizer.use", Kind::refused},  // its state would be another's
                                                {"optimizer", Kind::law},
                                                {"rate", Kind::law},
                                                {"times", Kind::law},
                                                {"weighting", Kind::law},
                                                {"sample", Kind::afterwards}};

Kind kind_of(const std::string& key) {
    const auto table = key.substr(0, key.find('.'));
    for (const auto& name : {key, table})
        if (const auto known = kinds_of_keys.find(name); known != kinds_of_keys.end()) return known->second;
    for (const auto& part : stage_parts)
        if (table == part.kind && (part.when == StagePart::When::sampling || table == "metric"))
            return Kind::afterwards;
    return Kind::refused;
}

/// The fields of a table by their paths; a list is one field.
void flatten(const toml::table& table, const std::string& before, std::map<std::string, std::string>& fields) {
    for (auto&& [key, node] : table) {
        const auto path = before + std::string(key.str());
        if (const auto* inner = node.as_table())
            flatten(*inner, path + ".", fields);
        else
            fields[path] = toml_value(node);
    }
}

void compare(const toml::table& then, const toml::table& now, const std::string& stage, std::vector<Change>& changes) {
    std::map<std::string, std::string> before, after;
    flatten(then, "", before);
    flatten(now, "", after);
    std::set<std::string> keys;
    for (const auto& [key, value] : before) keys.insert(key);
    for (const auto& [key, value] : after) keys.insert(key);
    const auto begins_or_ends = [&](const std::string& key, const std::string& table) {
        return key.starts_with(table + ".") && then.contains(table) != now.contains(table);
    };
    for (const auto& key : keys)
        if (before[key] != after[key]) {
            // To train at all is no change of a rate; to validate at all changes nothing that is trained.
            const auto kind = begins_or_ends(key, "train")      ? Kind::refused
                              : begins_or_ends(key, "validate") ? Kind::idle
                                                                : kind_of(key);
            changes.push_back({stage, key, before[key], after[key], kind});
        }
}

/// The tables of [[stage]] by their names, and the file without them.
std::map<std::string, toml::table> stages_of(toml::table& root) {
    std::map<std::string, toml::table> stages;
    if (const auto* list = root["stage"].as_array())
        for (const auto& stage : *list)
            if (const auto* table = stage.as_table()) stages[(*table)["name"].value_or(std::string())] = *table;
    root.erase("stage");
    return stages;
}

}  // namespace

std::string Change::text() const {
    const auto in_words = [](const std::string& value) { return value.empty() ? std::string("nothing") : value; };
    return fmt::format("{}{} {} → {}", stage.empty() ? "" : "stage " + stage + ": ", key, in_words(before),
                       in_words(after));
}

std::vector<Change> changes_between(const toml::table& then, const toml::table& now) {
    auto before = then, after = now;
    auto stages_before = stages_of(before), stages_after = stages_of(after);
    std::vector<Change> changes;
    compare(before, after, "", changes);
    for (const auto& [name, stage] : stages_after)
        if (stages_before.contains(name))
            compare(stages_before[name], stage, name, changes);
        else
            changes.push_back({name, "stage", "", toml_string(name), Kind::refused});
    for (const auto& [name, stage] : stages_before)
        if (!stages_after.contains(name)) changes.push_back({name, "stage", toml_string(name), "", Kind::refused});
    return changes;
}

bool is_set(const Change& change, const std::vector<std::string>& overrides) {
    return std::any_of(overrides.begin(), overrides.end(), [&](const std::string& one) {
        auto key = one.substr(0, one.find('='));
        key.erase(std::remove(key.begin(), key.end(), ' '), key.end());
        if (const auto own = "stage." + change.stage + "."; !change.stage.empty() && key.starts_with(own))
            key.erase(0, own.size());
        return change.key == key || change.key.starts_with(key + ".");
    });
}

}  // namespace dtk
