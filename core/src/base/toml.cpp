#include "base/toml.hpp"

#include <sstream>

#include <fmt/format.h>

#include "base/files.hpp"

namespace dtk {

namespace {
constexpr std::uintmax_t largest_file = 1 << 20;

/// A key as it must be written: bare where it can be.
std::string key_text(std::string_view key) {
    const bool bare =
        !key.empty() &&
        key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == key.npos;
    if (bare) return std::string(key);
    std::ostringstream out;
    out << toml::value<std::string>(std::string(key));
    return out.str();
}

void lay_over(toml::table& base, toml::table&& top) {
    for (auto&& [key, node] : top) {
        auto* below = base.get_as<toml::table>(key);
        if (node.is_table() && below) {
            lay_over(*below, std::move(*node.as_table()));
        } else {
            // Moving keeps where a value stood; copying would not.
            node.visit([&](auto& value) { base.insert_or_assign(key, std::move(value)); });
        }
    }
}

toml::table parse_override(const std::string& override, Mistakes& mistakes) {
    const auto source = "--set " + override;
    mistakes.remember(source, override);
    const auto equals = override.find('=');
    if (equals == override.npos || equals == 0) {
        mistakes.add({source, 0, 0, 1}, fmt::format("`--set {}` does not say KEY=VALUE", override),
                     "write for example --set train.lr=1e-3");
        return {};
    }
    try {
        return toml::parse(std::string_view(override), std::string_view(source));
    } catch (const toml::parse_error&) {
    }
    auto value = override.substr(equals + 1);  // a bare word
    std::string quoted;
    for (const char c : value) quoted += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    try {
        return toml::parse(std::string_view(override.substr(0, equals) + "=\"" + quoted + "\""),
                           std::string_view(source));
    } catch (const toml::parse_error& error) {
        mistakes.add({source, 0, 0, 1}, fmt::format("`--set {}` cannot be read: {}", override, error.description()),
                     "write for example --set train.lr=1e-3");
        return {};
    }
}
}  // namespace

Place place_of(const toml::source_region& region) {
    const int width = region.end.line == region.begin.line && region.end.column > region.begin.column
                          ? static_cast<int>(region.end.column - region.begin.column)
                          : 1;
    return {region.path ? *region.path : std::string(), static_cast<int>(region.begin.line),
            static_cast<int>(region.begin.column), width};
}

toml::table read_toml(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                      Mistakes& mistakes) {
    std::error_code error;
    if (!std::filesystem::exists(file, error)) {
        mistakes.add({file.string()}, fmt::format("there is no file {}", file.string()),
                     "give the path of an experiment file, such as experiments/quickstart.toml");
        return {};
    }
    if (!std::filesystem::is_regular_file(file, error)) {
        mistakes.add({file.string()}, fmt::format("{} is not a file", file.string()));
        return {};
    }
    if (std::filesystem::file_size(file, error) > largest_file || error) {
        mistakes.add({file.string()},
                     fmt::format("{} is too large to be an experiment (1 MiB at most)", file.string()));
        return {};
    }
    toml::table root;
    const auto text = read_file(file);
    mistakes.remember(file.string(), text);
    try {
        root = toml::parse(std::string_view(text), std::string_view(file.native()));
    } catch (const toml::parse_error& failure) {
        mistakes.add(place_of(failure.source()), std::string(failure.description()),
                     "this is not TOML; see https://toml.io");
        return {};
    }
    for (const auto& override : overrides) lay_over(root, parse_override(override, mistakes));
    return root;
}

std::string toml_number(double value) {
    auto text = fmt::format("{}", value);
    if (text.find_first_of(".en") == text.npos) text += ".0";
    return text;
}

std::string toml_value(const toml::node& node) {
    if (const auto* number = node.as_floating_point()) return toml_number(number->get());
    std::string text;
    if (const auto* array = node.as_array()) {
        for (const auto& element : *array) text += (text.empty() ? "" : ", ") + toml_value(element);
        return "[" + text + "]";
    }
    if (const auto* table = node.as_table()) {
        for (auto&& [key, value] : *table)
            text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", key_text(key.str()), toml_value(value));
        return "{" + text + "}";
    }
    std::ostringstream out;
    node.visit([&](const auto& value) {
        if constexpr (!toml::is_table<decltype(value)> && !toml::is_array<decltype(value)>) out << value;
    });
    return out.str();
}

namespace {
void write(const toml::table& table, const std::string& path, std::string& text) {
    const auto line = [&](const toml::key& key, const toml::node& node) {
        text += fmt::format("{} = {}\n", key_text(key.str()), toml_value(node));
    };
    for (auto&& [key, node] : table)
        if (key.str() == "use") line(key, node);
    for (auto&& [key, node] : table)
        if (key.str() != "use" && !node.is_table() && !node.is_array_of_tables()) line(key, node);
    for (auto&& [key, node] : table)
        if (const auto* inner = node.as_table()) {
            const auto name = path.empty() ? key_text(key.str()) : path + "." + key_text(key.str());
            text += fmt::format("\n[{}]\n", name);
            write(*inner, name, text);
        }
    for (auto&& [key, node] : table)
        if (node.is_array_of_tables())
            for (const auto& inner : *node.as_array()) {
                const auto name = path.empty() ? key_text(key.str()) : path + "." + key_text(key.str());
                text += fmt::format("\n[[{}]]\n", name);
                write(*inner.as_table(), name, text);
            }
}
}  // namespace

std::string toml_text(const toml::table& table) {
    std::string text;
    write(table, "", text);
    return text;
}

}  // namespace dtk
