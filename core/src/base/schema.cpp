#include "base/schema.hpp"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/blame.hpp"

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

template <class Settings>
json settings() {
    Settings settings;
    SchemaFields fields;
    settings.fields(fields);
    return table(fields.properties());
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
        SchemaFields fields;
        descriptor.describe(fields);
        auto properties = fields.properties();
        properties["use"] = {{"const", plugin.name}, {"description", descriptor.summary}};
        if (labelled && !properties.contains("name"))
            properties["name"] = {{"type", "string"}, {"description", "a name of its own, where there are several"}};
        auto one = table(std::move(properties));
        one["description"] = descriptor.summary;
        // The kind's default is what a table without `use` is.
        if (!plugin.is_default) one["required"] = {"use"};
        names.push_back(plugin.name);
        tables.push_back(std::move(one));
    }
    tables.insert(tables.begin(), json{{"enum", std::move(names)}});
    return {{"anyOf", std::move(tables)}};
}

}  // namespace

SchemaFields::SchemaFields() : properties_(std::make_unique<json>(json::object())) {}
SchemaFields::~SchemaFields() = default;

void SchemaFields::add(const char* key, json type, const char* doc) {
    type["description"] = doc;
    (*properties_)[key] = std::move(type);
}

void SchemaFields::operator()(const char* key, double& value, Range range, const char* doc) {
    auto type = number("number", range);
    if (std::isfinite(value)) type["default"] = value;
    add(key, std::move(type), doc);
}
void SchemaFields::operator()(const char* key, std::int64_t& value, Range range, const char* doc) {
    auto type = number("integer", range);
    type["default"] = value;
    add(key, std::move(type), doc);
}
void SchemaFields::operator()(const char* key, bool& value, const char* doc) {
    add(key, {{"type", "boolean"}, {"default", value}}, doc);
}
void SchemaFields::operator()(const char* key, std::string& value, const Choices& choices, const char* doc) {
    add(key, {{"enum", choices}, {"default", value}}, doc);
}
void SchemaFields::operator()(const char* key, std::string& value, const char* doc) {
    add(key, {{"type", "string"}, {"default", value}}, doc);
}
void SchemaFields::operator()(const char* key, std::filesystem::path&, const char* doc) {
    add(key, {{"type", "string"}}, doc);
}
void SchemaFields::operator()(const char* key, std::vector<double>& value, Range range, const char* doc) {
    auto type = list_of(number("number", range));
    type["default"] = value;
    add(key, std::move(type), doc);
}
void SchemaFields::operator()(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) {
    auto type = list_of(number("integer", range));
    type["default"] = value;
    add(key, std::move(type), doc);
}
void SchemaFields::operator()(const char* key, std::vector<std::string>& value, const char* doc) {
    auto type = list_of({{"type", "string"}});
    type["default"] = value;
    add(key, std::move(type), doc);
}
void SchemaFields::operator()(const char* key, std::vector<Row>&, Range range, const char* doc) {
    add(key, list_of(list_of(number("number", range))), doc);
}
void SchemaFields::words(const char* key, std::vector<std::string>& value, const char* doc) {
    auto type = list_of({{"type", {"string", "integer"}}});
    type["default"] = value;
    add(key, std::move(type), doc);
}
void SchemaFields::plugin(const char* key, const char* kind, AnyPart&, const char* doc) {
    // Beside a $ref nothing else counts.
    add(key, {{"allOf", json::array({a(kind)})}}, doc);
}
void SchemaFields::reference(const char* key, std::string&, const char* doc) { add(key, {{"type", "string"}}, doc); }

std::vector<std::string> keys_of_settings(std::string_view name) {
    const auto found = name == "train"      ? settings<TrainSettings>()
                       : name == "validate" ? settings<ValidateSettings>()
                       : name == "sample"   ? settings<SampleSettings>()
                       : name == "init"     ? settings<InitSettings>()
                                            : table(json::object());
    std::vector<std::string> keys;
    for (const auto& [key, type] : found.at("properties").items()) keys.push_back(key);
    return keys;
}

json experiment_schema(const Registry& registry, std::vector<std::string>& left_out) {
    json stage{{"name", {{"type", "string"}, {"description", "the stage's name"}}},
               {"train", settings<TrainSettings>()},
               {"validate", settings<ValidateSettings>()},
               {"sample", settings<SampleSettings>()}};
    auto init = settings<InitSettings>();
    stage["init"] = {{"anyOf", {{{"type", "string"}}, std::move(init)}}};
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
    SchemaFields top;
    experiment_fields(top);
    file.update(top.properties());
    file["stage"] = list_of(table(std::move(stage)));
    SchemaFields plugins;
    plugin_folder_fields(plugins);
    file["plugins"] = table(plugins.properties());
    // Their keys go by the arms and metrics of the file; `dtk check` reads them.
    for (const auto& [key, what] : {std::pair{"ablation", "what varies in a study"},
                                    {"seeds",
                                     "one axis of seeds, or one of training and one of "
                                     "sampling"},
                                    {"expect", "what metrics are claimed to be"}})
        file[key] = {{"description", what}};
    auto schema = table(std::move(file));
    schema["$schema"] = "http://json-schema.org/draft-07/schema#";
    schema["title"] = "an experiment of dtk";
    schema["definitions"] = std::move(definitions);
    return schema;
}

}  // namespace dtk
