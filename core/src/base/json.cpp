#include "base/json.hpp"

#include <charconv>
#include <cmath>
#include <fstream>

#include <fmt/format.h>

#include <dtk/error.hpp>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/record_types.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

constexpr std::uint64_t most_record_bytes = std::uint64_t{1} << 28;
// Whatever dtk writes is flatter by far; what reads, copies and frees it calls itself.
constexpr int deepest_record = 64;

bool is_too_deep(std::string_view text) {
    int depth = 0;
    bool in_text = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_text && c == '\\')
            ++i;
        else if (c == '"')
            in_text = !in_text;
        else if (!in_text && (c == '[' || c == '{') && ++depth > deepest_record)
            return true;
        else if (!in_text && (c == ']' || c == '}'))
            --depth;
    }
    return false;
}

json parse(std::string_view text) {
    return is_too_deep(text) ? json(json::value_t::discarded) : json::parse(text, nullptr, false);
}

}  // namespace

json read_json(const fs::path& file, std::string* why) {
    const json damaged(json::value_t::discarded);
    std::string ignored;
    auto& reason = why ? *why : ignored;
    std::error_code error;
    if (file.empty() || !fs::exists(file, error)) return nullptr;
    try {
        const InputFile in(file);
        if (in.size() > most_record_bytes) return reason = "it is too large", damaged;
        std::string text(in.size(), '\0');
        in.read(0, text.data(), text.size());
        auto content = parse(text);
        if (content.is_discarded()) reason = is_too_deep(text) ? "it is nested too deeply" : "it is not JSON";
        if (content.is_discarded()) return content;
        reason = remove_wrong_types(content, file.filename().string());
        return content;
    } catch (const Error& unreadable) {
        reason = unreadable.what();
        return damaged;
    }
}

json read_record_file(const fs::path& file) {
    std::string why;
    auto content = read_json(file, &why);
    if (content.is_null() && why.empty()) why = "it is not there";
    if (!content.is_object() || !why.empty())
        throw UserError(fmt::format("{} is damaged: {}", file.string(), why.empty() ? "it holds no table" : why),
                        "put a copy of it back, or begin the run anew in another folder");
    return content;
}

std::vector<json> read_json_lines(const fs::path& file) {
    std::error_code error;
    std::vector<json> lines;
    if (!fs::is_regular_file(file, error)) return lines;
    std::ifstream in(file, std::ios::binary);
    for (std::string text; std::getline(in, text);)
        if (auto line = parse(text); line.is_object() && remove_wrong_types(line, "metrics.jsonl").empty())
            lines.push_back(std::move(line));
    return lines;
}

json json_number(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    return value;
}

std::optional<double> number_of(const json& value) {
    if (value.is_number()) return value.get<double>();
    if (value == "inf") return INFINITY;
    if (value == "-inf") return -INFINITY;
    if (value == "nan") return NAN;
    return std::nullopt;
}

double number_at(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return at != object.end() ? number_of(*at).value_or(NAN) : NAN;
}

std::string csv_field(const std::string& text) {
    double number;
    const auto* end = text.data() + text.size();
    const bool is_number = std::from_chars(text.data(), end, number).ptr == end;
    auto field = text;
    if (!text.empty() && !is_number && std::string_view("=+-@\t\r\n").find(text[0]) != std::string_view::npos)
        field = "'" + text;
    if (field.find_first_of(",\"\r\n") == field.npos) return field;
    std::string quoted = "\"";
    for (const char c : field) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

}  // namespace dtk
