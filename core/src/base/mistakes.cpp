#include "base/mistakes.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/registry.hpp"

namespace dtk {

PlacedError::~PlacedError() = default;

void Mistakes::add(Place place, std::string message, std::string help) {
    found_.push_back({std::move(place), std::move(message), std::move(help), 2});
}

void Mistakes::add_plugin(Place place, const Error& error) {
    if (const auto* placed = dynamic_cast<const PlacedError*>(&error)) {
        found_.push_back({placed->place, placed->what(), placed->help(), placed->plugins_fault ? 3 : 2});
        return;
    }
    const bool plugins_fault = dynamic_cast<const PluginError*>(&error) != nullptr;
    found_.push_back({std::move(place), error.what(), error.help(), plugins_fault ? 3 : 2});
}

int Mistakes::exit_code() const {
    if (found_.empty()) return 0;
    return std::all_of(found_.begin(), found_.end(), [](const Mistake& m) { return m.exit_code == 3; }) ? 3 : 2;
}

namespace {
std::string line_of(const std::string& text, int line) {
    std::size_t begin = 0;
    for (int i = 1; i < line; ++i) {
        const auto end = text.find('\n', begin);
        if (end == text.npos) return {};
        begin = end + 1;
    }
    auto found = text.substr(begin, std::min(text.find('\n', begin), text.size()) - begin);
    while (!found.empty() && found.back() == '\r') found.pop_back();
    return found;
}

/// Columns count characters; the marker under a line must too.
std::string marker(const std::string& line, int column, int width) {
    std::string padding;
    int at = 1;
    for (std::size_t i = 0; i < line.size() && at < column; ++i)
        if ((static_cast<unsigned char>(line[i]) & 0xC0) != 0x80) {
            padding += line[i] == '\t' ? '\t' : ' ';
            ++at;
        }
    return padding + std::string(static_cast<std::size_t>(std::max(1, width)), '^');
}
}  // namespace

std::string Mistakes::text() const {
    auto sorted = found_;
    std::stable_sort(sorted.begin(), sorted.end(), [](const Mistake& a, const Mistake& b) { return a.place < b.place; });
    std::string text;
    for (const auto& mistake : sorted) {
        const auto& [source, line, column, width] = mistake.place;
        text += fmt::format("error: {}\n", mistake.message);
        if (line > 0) {
            const auto number = std::to_string(line);
            const std::string margin(number.size(), ' ');
            text += fmt::format("{}--> {}:{}:{}\n", margin, source, line, column);
            const auto found = texts_.find(source);
            const auto shown = found == texts_.end() ? std::string() : line_of(found->second, line);
            if (!shown.empty()) {
                const int room = std::max(1, static_cast<int>(shown.size()) - column + 1);
                text += fmt::format("{0} |\n{1} | {2}\n{0} | {3}\n", margin, number, shown, marker(shown, column, std::min(width, room)));
            }
        } else if (!source.empty()) {
            text += fmt::format(" --> {}\n", source);
        }
        if (!mistake.help.empty()) text += fmt::format("  = help: {}\n", mistake.help);
        text += "\n";
    }
    return text;
}

}  // namespace dtk
