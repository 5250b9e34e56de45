#include "base/declaration.hpp"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/reader.hpp"

namespace dtk {

namespace {

std::string toml_row(const Row& row) {
    std::string text = "[";
    for (std::size_t i = 0; i < row.size(); ++i) text += (i > 0 ? ", " : "") + toml_number(row[i]);
    return text + "]";
}

std::string toml_texts(const std::vector<std::string>& texts) {
    return texts.empty() ? "[]" : fmt::format("[\"{}\"]", fmt::join(texts, "\", \""));
}

std::string limits(Range range) { return std::isinf(range.lo) && std::isinf(range.hi) ? "" : interval(range); }

}  // namespace

void DeclaringFields::add(DeclaredField field) {
    if (std::exchange(without_default_, "") == field.key) {
        field.required = true;
        field.default_value.clear();
    }
    found.push_back(std::move(field));
}
void DeclaringFields::require(bool, const char*, const std::string&, const std::string&) {}

void DeclaringFields::operator()(const char* key, double& value, Range range, const char* doc) {
    add({key, "number", toml_number(value), limits(range), doc, range});
}
void DeclaringFields::operator()(const char* key, std::int64_t& value, Range range, const char* doc) {
    add({key, "whole number", fmt::format("{}", value), limits(range), doc, range});
}
void DeclaringFields::operator()(const char* key, bool& value, const char* doc) {
    add({key, "truth", value ? "true" : "false", "true or false", doc});
}
void DeclaringFields::operator()(const char* key, std::string& value, const Choices& choices, const char* doc) {
    add({key, "text", fmt::format("\"{}\"", value), fmt::format("{}", fmt::join(choices, ", ")), doc, {}, choices});
}
void DeclaringFields::operator()(const char* key, std::string& value, const char* doc) {
    add({key, "text", fmt::format("\"{}\"", value), "", doc});
}
void DeclaringFields::operator()(const char* key, std::filesystem::path& value, const char* doc) {
    add({key, "path", fmt::format("\"{}\"", value.string()), "", doc});
}
void DeclaringFields::operator()(const char* key, std::vector<double>& value, Range range, const char* doc) {
    add({key, "list of numbers", toml_row(value), limits(range), doc, range});
}
void DeclaringFields::operator()(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) {
    add({key, "list of whole numbers", fmt::format("[{}]", fmt::join(value, ", ")), limits(range), doc, range});
}
void DeclaringFields::operator()(const char* key, std::vector<std::string>& value, const char* doc) {
    add({key, "list of texts", toml_texts(value), "", doc});
}
void DeclaringFields::operator()(const char* key, std::vector<Row>& value, Range range, const char* doc) {
    std::vector<std::string> rows;
    for (const auto& row : value) rows.push_back(toml_row(row));
    add({key, "list of lists of numbers", fmt::format("[{}]", fmt::join(rows, ", ")), limits(range), doc, range});
}
void DeclaringFields::words(const char* key, std::vector<std::string>& value, const char* doc) {
    add({key, "list of texts and whole numbers", toml_texts(value), "", doc});
}
void DeclaringFields::reference(const char* key, std::string& name, const char* doc) {
    add({key, "trained network", fmt::format("\"{}\"", name), "a stage's name or a run's folder", doc});
}
void DeclaringFields::plugin(const char* key, const char* kind, AnyPart& value, const char* doc) {
    add({key, kind, value.use.empty() ? "" : fmt::format("\"{}\"", value.use), fmt::format("a {} plugin", kind), doc});
}

std::vector<DeclaredField> declared_fields(const Descriptor& descriptor) {
    DeclaringFields declaring;
    descriptor.configure(declaring);
    return std::move(declaring.found);
}

}  // namespace dtk
