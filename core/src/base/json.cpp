#include "base/json.hpp"

#include <cmath>
#include <fstream>

namespace dtk {

nlohmann::json read_json(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return in ? nlohmann::json::parse(in, nullptr, false) : nlohmann::json();
}

std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::vector<nlohmann::json> lines;
    for (std::string text; std::getline(in, text);)
        if (auto line = nlohmann::json::parse(text, nullptr, false); line.is_object()) lines.push_back(std::move(line));
    return lines;
}

nlohmann::json json_number(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    return value;
}

std::optional<double> number_of(const nlohmann::json& value) {
    if (value.is_number()) return value.get<double>();
    if (value == "inf") return INFINITY;
    if (value == "-inf") return -INFINITY;
    if (value == "nan") return NAN;
    return std::nullopt;
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == text.npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

}  // namespace dtk
