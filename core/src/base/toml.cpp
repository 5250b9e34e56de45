#define TOML_IMPLEMENTATION
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
    return bare ? std::string(key) : toml_string(key);
}

/// What to do about a file that does not parse, from what it looks like.
std::string cure_of(std::string_view text, std::string_view failure) {
    if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") || text.substr(0, 64).find('\0') != text.npos)
        return "the file is UTF-16, as some editors of Windows write it: save it as UTF-8, or iconv -f UTF-16 -t UTF-8";
    if (failure.find("escape") != failure.npos || failure.find("unicode scalar") != failure.npos)
        return "in \"…\" a backslash begins an escape: write the text in '…', or write / or \\\\ for it";
    if (failure.find("64 bit") != failure.npos || failure.find("representable") != failure.npos)
        return "a whole number lies between -9223372036854775808 and 9223372036854775807";
    return "this is not TOML; see https://toml.io";
}
}  // namespace

SourceLocation place_of(const toml::source_region& region) {
    const int width = region.end.line == region.begin.line && region.end.column > region.begin.column
                          ? static_cast<int>(region.end.column - region.begin.column)
                          : 1;
    return {region.path ? *region.path : std::string(), static_cast<int>(region.begin.line),
            static_cast<int>(region.begin.column), width};
}

SourceLocation place_of(const toml::node& node) {
    const auto own = place_of(node.source());
    if (own.line > 0) return own;
    if (const auto* table = node.as_table())
        for (auto&& [key, value] : *table)
            if (auto place = place_of(value); place.line > 0) return place;
    return own;
}

toml::table read_toml(const std::filesystem::path& file, Diagnostics& mistakes) {
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
    const auto text = read_file(file);
    mistakes.remember(file.string(), text);
    try {
        return toml::parse(std::string_view(text), std::string_view(file.native()));
    } catch (const toml::parse_error& failure) {
        mistakes.add(place_of(failure.source()), std::string(failure.description()),
                     cure_of(text, failure.description()));
        return {};
    }
}

std::string toml_string(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            quoted += {'\\', c};
        else if (c == '\n')
            quoted += "\\n";
        else if (c == '\t')
            quoted += "\\t";
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            quoted += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
        else
            quoted += c;
    }
    return quoted + "\"";
}

std::string toml_number(double value) {
    auto text = fmt::format("{}", value);
    if (text.find_first_of(".en") == text.npos) text += ".0";
    return text;
}

std::string toml_value(const toml::node& node) {
    if (const auto* number = node.as_floating_point()) return toml_number(number->get());
    if (const auto* word = node.as_string()) return toml_string(word->get());
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
    const auto fits_a_line = [](const toml::node& node) { return !node.is_table() && !node.is_array_of_tables(); };
    for (auto&& [key, node] : table)
        if (key.str() == "use" && fits_a_line(node)) line(key, node);
    for (auto&& [key, node] : table)
        if (key.str() != "use" && fits_a_line(node)) line(key, node);
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
