#include "base/record_types.hpp"

#include <cstdint>

#include <fmt/format.h>

#include "base/json.hpp"

namespace dtk {

using json = nlohmann::json;

namespace {

/// By the names of files. A type is a word, a list with the type of each element, or a table with those of its fields;
/// under "*" stands that of all others. A word with `?` allows null as well, one with `!` must be there. A "value" is a
/// number that may be infinite, "result" what result.json holds.
const json& types() {
    static const auto all = json::parse(R"({
        "result.json": {
            "metrics": [{"metric": "text!", "plugin": "text", "value": "value?", "better": "text", "unit": "text",
                         "note": "text", "passes": "truth", "standard_error": "value?", "expected": "value?",
                         "expected_sd": "value?", "parts": {"*": "value?"}, "card": {}}],
            "samples": "whole", "parameters": "whole", "network_evaluations": "number", "seconds": {"*": "number"},
            "step": "whole", "checkpoint": "text",
            "held_out": {"*": {"step": "whole!", "error": "value!", "average_error": "value"}}},
        "run.json": {
            "schema": "whole", "id": "text", "name": "text", "start_time": "text", "stop_time": "text", "cwd": "text",
            "status": "text", "error": "text", "pid": "whole", "seed": "whole", "config_hash": "text",
            "dtk": {"version": "text", "build": "text", "sha256": "text"},
            "host": {"name": "text", "os": "text", "cpu": "text", "cores": "whole"},
            "device": "text", "threads": "whole",
            "plugins": [{"kind": "text!", "name": "text!", "path": "text!", "sha256": "text!", "build_id": "text",
                         "shadows": ["text"]}],
            "artefacts": {"*": "text"}, "data": {"*": "text"}, "seconds": {"*": "number"}, "result": "result",
            "threads_by": "text", "init": {"*": "text"}, "networks": {"*": {"*": "text"}},
            "changing": "truth",
            "classes": {"*": [{"number": "whole!", "name": "text!", "examples": "whole"}]},
            "history": [{"time": "text", "from": {"*": {"step": "whole", "checkpoint": "text"}},
                         "changes": [{"stage": "text", "key": "text", "before": "text", "after": "text",
                                      "law": "truth", "text": "text"}],
                         "result": "result"}]},
        "study.json": {
            "file": "text", "set": ["text"], "threads": "whole", "device": "text?", "plugin_path": ["text"],
            "accept_rebuilt": "truth", "name": "text", "question": "text",
            "text": "text", "baseline": "whole", "seeds": ["whole"], "sample_seeds": ["whole"], "metrics": ["text"],
            "level": "number", "all_pairs": "truth", "confirm": "text", "until_decided": "truth", "limit": "whole",
            "first_seeds": "whole", "vary": ["text"], "one_at_a_time": "truth",
            "search": {"rungs": "whole!", "eta": "whole!", "steps": "whole!", "seeds": ["whole"], "fresh": ["whole"],
                       "arms": ["text"], "done": [{"steps": "whole!", "arms": ["text"], "kept": ["text"]}]},
            "tune": {"key": "text!", "metric": "text!", "values": ["text"], "seed": "whole!"}, "smallest": {"value": "number!", "relative": "truth!"},
            "axes": [{"key": "text!", "values": ["text"]}],
            "arms": [{"name": "text!", "set": ["text"], "levels": ["whole"]}],
            "tasks": [{"what": "text!", "id": "text!", "config": "text!", "text": "text!", "set": ["text"],
                       "needs": "text!", "goes_on": "text", "stands_on": {"*": "text"}, "first": "text!"}],
            "plans": [{"time": "text", "cells_done": "whole", "plan": {}}],
            "cells": [{"arm": "text!", "seed": "whole!", "sample_seed": "whole", "task": "text!", "needs": "text!",
                       "stream": "text", "tuned": ["text"], "choices": ["text"], "chosen": "whole"}]},
        "metrics.jsonl": {"step": "whole"}})");
    return all;
}

const char* described(const json& value) {
    switch (value.type()) {
        case json::value_t::null:
            return "null";
        case json::value_t::boolean:
            return "a truth value";
        case json::value_t::string:
            return "a text";
        case json::value_t::array:
            return "a list";
        case json::value_t::object:
            return "a table";
        default:
            return "a number";
    }
}

std::string mismatch(const json& value, const char* wanted, const std::string& path) {
    return fmt::format("{} is {}, not {}", path.empty() ? "it" : "`" + path + "`", described(value), wanted);
}

std::string checked(const json& value, const json& type, const std::string& path);

std::string checked_fields(const json& table, const json& type, const std::string& path) {
    if (!table.is_object()) return mismatch(table, "a table", path);
    for (const auto& [key, field] : table.items()) {
        const auto own = type.find(key), any = type.find("*"), known = own != type.end() ? own : any;
        if (known == type.end()) continue;
        if (auto wrong = checked(field, *known, path.empty() ? key : path + "." + key); !wrong.empty()) return wrong;
    }
    for (const auto& [key, field] : type.items())
        if (field.is_string() && field.get_ref<const std::string&>().ends_with('!') && !table.contains(key))
            return fmt::format("`{}` has no `{}`", path, key);
    return {};
}

/// Of one stage, or of several by their names.
std::string checked_result(const json& result, const std::string& path) {
    const auto& type = types()["result.json"];
    if (auto wrong = checked_fields(result, type, path); !wrong.empty()) return wrong;
    for (const auto& [stage, one] : result.items())
        if (one.is_object() && !type.contains(stage))
            if (auto wrong = checked_fields(one, type, path.empty() ? stage : path + "." + stage); !wrong.empty())
                return wrong;
    return {};
}

std::string checked(const json& value, const json& type, const std::string& path) {
    if (type.is_object()) return checked_fields(value, type, path);
    if (type.is_array()) {
        if (!value.is_array()) return mismatch(value, "a list", path);
        for (std::size_t i = 0; i < value.size(); ++i)
            if (auto wrong = checked(value[i], type[0], fmt::format("{}[{}]", path, i)); !wrong.empty()) return wrong;
        return {};
    }
    auto word = type.get<std::string>();
    if (word == "result") return checked_result(value, path);
    if (word.ends_with('?')) {
        if (value.is_null()) return {};
        word.pop_back();
    }
    if (word.ends_with('!')) word.pop_back();
    if (word == "text") return value.is_string() ? "" : mismatch(value, "a text", path);
    if (word == "truth") return value.is_boolean() ? "" : mismatch(value, "true or false", path);
    if (word == "value") return number_of(value) ? "" : mismatch(value, "a number", path);
    if (word == "number") return value.is_number() ? "" : mismatch(value, "a number", path);
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
    return fits ? "" : mismatch(value, "a whole number", path);
}

}  // namespace

std::string remove_wrong_types(json& content, std::string_view file_name) {
    const auto type = types().find(file_name);
    if (type == types().end()) return {};
    if (!content.is_object()) return "it holds no table";
    std::string first;
    for (auto field = content.begin(); field != content.end();) {
        json alone = json::object();
        alone[field.key()] = *field;
        const auto wrong = file_name == "result.json" ? checked_result(alone, "") : checked(alone, *type, "");
        if (first.empty()) first = wrong;
        field = wrong.empty() ? std::next(field) : content.erase(field);
    }
    return first;
}

}  // namespace dtk
