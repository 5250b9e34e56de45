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
    return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == text.npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

}  // namespace dtk
