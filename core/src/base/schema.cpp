#include "base/schema.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/blame.hpp"
#include "base/experiment.hpp"

namespace dtk {

using nlohmann::json;

namespace {

json number(const char* type, Range range) {
    json made{{"type", type}};
    if (std::isfinite(range.lo)) made[range.lo_open ? "exclusiveMinimum" : "minimum"] = range.lo;
    if (std::isfinite(range.hi)) made[range.hi_open ? "exclusiveMaximum" : "maximum"] = range.hi;
    return made;
}

json list_of(json one) { return {{"type", "array"}, {"items", std::move(one)}}; }

json a(const std::string& kind) { return {{"$ref", "#/definitions/" + kind}}; }

/// A table with those keys and no others.
json table(json properties) {
    return {{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

/// A field, whose type may be a plugin's kind.
json property(const DeclaredField& field) {
    const auto type = [&]() -> json {
        if (field.type == "number") return number("number", field.range);
        if (field.type == "whole number") return number("integer", field.range);
        if (field.type == "truth") return {{"type", "boolean"}};
        if (!field.choices.empty()) return {{"enum", field.choices}};
        if (field.type == "text" || field.type == "path" || field.type == "trained network")
            return {{"type", "string"}};
        if (field.type == "list of numbers") return list_of(number("number", field.range));
        if (field.type == "list of whole numbers") return list_of(number("integer", field.range));
        if (field.type == "list of texts") return list_of({{"type", "string"}});
        if (field.type == "list of texts and whole numbers") return list_of({{"type", {"string", "integer"}}});
        if (field.type == "list of lists of numbers") return list_of(list_of(number("number", field.range)));
        return {{"allOf", json::array({a(field.type)})}};  // beside a $ref nothing else counts
    };
    auto made = type();
    made["description"] = field.doc;
    // TOML's values are JSON's, but for inf and nan, which no schema can say.
    if (auto value = json::parse(field.default_value, nullptr, /*allow_exceptions=*/false); !value.is_discarded())
        made["default"] = std::move(value);
    return made;
}

json properties(const std::vector<DeclaredField>& fields) {
    json all = json::object();
    for (const auto& field : fields) all[field.key] = property(field);
    return all;
}

/// A plugin of that kind: its name alone, or a table for each that there is.
json plugin_of(const Registry& registry, const std::string& kind, bool labelled, std::vector<std::string>& left_out) {
    json names = json::array(), tables = json::array();
    for (const auto& plugin : registry.plugins()) {
        if (plugin.kind != kind) continue;
        if (const auto probe = registry.probe({plugin}).front(); !plugin.twins.empty() || !probe.problem.empty()) {
            left_out.push_back(fmt::format("{} `{}`", plugin.kind, plugin.name));
            continue;
        }
        const Blame blame(fmt::format("{} plugin `{}`", plugin.kind, plugin.name), "while it is described",
                          plugin.file);
        const auto& descriptor = registry.load(plugin);
        const auto declared = declared_fields(descriptor);
        auto fields = properties(declared);
        fields["use"] = {{"const", plugin.name}, {"description", descriptor.summary}};
        if (labelled && !fields.contains("name"))
            fields["name"] = {{"type", "string"}, {"description", "a name of its own, where there are several"}};
        auto one = table(std::move(fields));
        one["description"] = descriptor.summary;
        // The kind's default is what a table without `use` is.
        json required = json::array();
        if (!plugin.is_default) required.push_back("use");
        for (const auto& field : declared)
            if (field.required) required.push_back(field.key);
        if (!required.empty()) one["required"] = required;
        if (std::ranges::none_of(declared, &DeclaredField::required)) names.push_back(plugin.name);
        tables.push_back(std::move(one));
    }
    tables.insert(tables.begin(), json{{"enum", std::move(names)}});
    return {{"anyOf", std::move(tables)}};
}

}  // namespace

json experiment_schema(const Registry& registry, std::vector<std::string>& left_out) {
    registry.probe(registry.plugins());  // all at once: each is then known
    const auto declared = declared_settings();
    const auto settings = [&](const char* name) { return table(properties(declared.at(name))); };
    json stage{{"name", {{"type", "string"}, {"description", "the stage's name"}}},
               {"init", {{"anyOf", {{{"type", "string"}}, settings("init")}}}}};
    for (const auto* name : {"train", "validate", "sample"}) stage[name] = settings(name);
    // A kind that is no part of a stage stands for the fields of others: [schedule], [grid].
    json definitions = json::object();
    for (const auto& kind : registry.kinds()) {
        const auto* part = std::ranges::find(stage_parts, kind, &StagePart::kind);
        const bool known = part != std::end(stage_parts);
        definitions[kind] = plugin_of(registry, kind, known && part->labelled, left_out);
        stage[kind] = a(kind);
        if (known && part->list) stage[kind] = {{"anyOf", json::array({list_of(a(kind)), a(kind)})}};
    }

    auto file = stage;
    file.update(properties(declared.at("")));
    file["stage"] = list_of(table(std::move(stage)));
    file["plugins"] = settings("plugins");
    // Their keys go by the arms and metrics of the file; `dtk check` reads them.
    for (const auto& [key, what] : {std::pair{"ablation", "what varies in a study"},
                                    {"seeds", "one axis of seeds, or one of training and one of sampling"},
                                    {"expect", "what metrics are claimed to be"}})
        file[key] = {{"description", what}};
    auto schema = table(std::move(file));
    schema["$schema"] = "http://json-schema.org/draft-07/schema#";
    schema["title"] = "an experiment of dtk";
    schema["definitions"] = std::move(definitions);
    return schema;
}

}  // namespace dtk
