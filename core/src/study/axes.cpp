// Reads the axes of a study, and makes every combination of their values an arm.
#include "study/axes.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/names.hpp"
#include "base/toml.hpp"
#include "base/words.hpp"

namespace dtk {

namespace {

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

}  // namespace

std::optional<std::vector<Axis>> read_axes(const toml::table& ablation, Diagnostics& mistakes) {
    const auto* list = ablation.get_as<toml::array>("axis");
    if (!list || !list->is_array_of_tables()) {
        mistakes.add(place_of(ablation.source()), "a study needs an axis: what varies",
                     "add\n    [[ablation.axis]]\n    key = \"schedule.use\"\n    values = [\"linear\", \"cosine\"]");
        return std::nullopt;
    }
    std::vector<Axis> axes;
    for (const auto& one : *list)
        if (auto axis = read_axis(*one.as_table(), mistakes)) axes.push_back(std::move(*axis));
    return axes.size() == list->size() ? std::optional(std::move(axes)) : std::nullopt;
}

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

}  // namespace dtk
