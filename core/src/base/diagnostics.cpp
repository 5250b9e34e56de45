#include "base/diagnostics.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/registry.hpp"
#include "base/words.hpp"

namespace dtk {

PlacedError::~PlacedError() = default;

SourceLocation Diagnostics::origin(SourceLocation place) const {
    const auto at = origins_.find(place.source);
    return at == origins_.end() ? std::move(place) : at->second;
}

void Diagnostics::add(SourceLocation place, std::string message, std::string help) {
    found_.push_back({origin(std::move(place)), std::move(message), std::move(help), 2});
}

void Diagnostics::add_plugin(SourceLocation place, const Error& error) {
    if (const auto* placed = dynamic_cast<const PlacedError*>(&error)) {
        found_.push_back({origin(placed->place), placed->what(), placed->help(), placed->plugins_fault ? 3 : 2});
        return;
    }
    const bool plugins_fault = dynamic_cast<const PluginError*>(&error) != nullptr;
    found_.push_back({origin(std::move(place)), error.what(), error.help(), plugins_fault ? 3 : 2});
}

void Diagnostics::take(Diagnostics&& others, const std::string& arm) {
    for (auto& mistake : others.found_) {
        const auto same = [&](const Mistake& known) {
            return known.place == mistake.place && known.message == mistake.message;
        };
        if (std::any_of(found_.begin(), found_.end(), same)) continue;
        found_.push_back(std::move(mistake));
        found_.back().in = arm;
    }
    texts_.merge(others.texts_);
}

Error Diagnostics::as_error() const {
    std::string all, cures;
    for (const auto& mistake : found_) {
        all += (all.empty() ? "" : "; ") + mistake.message;
        if (!mistake.help.empty()) cures += (cures.empty() ? "" : "; ") + mistake.help;
    }
    return Error(all, cures);
}

int Diagnostics::exit_code() const {
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

/// The characters of a line: columns count them, not bytes.
std::vector<std::string> characters(const std::string& line) {
    std::vector<std::string> all;
    for (const char c : line)
        if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 || all.empty())
            all.emplace_back(1, c);
        else
            all.back() += c;
    return all;
}

/// The line with a mark under the columns in question; of a long one only what stands around them.
std::pair<std::string, std::string> marked(const std::string& line, int column, int width) {
    constexpr std::size_t before = 60, most = 120;
    const auto all = characters(line);
    const auto at = static_cast<std::size_t>(std::max(1, column) - 1);
    const auto begin = all.size() > most && at > before ? at - before : 0, end = std::min(all.size(), begin + most);
    std::string shown, mark;
    for (std::size_t i = begin; i < end; ++i) {
        shown += all[i] == "\t" || harmless(all[i]) == all[i] ? all[i] : "�";
        if (i < at) mark += all[i] == "\t" ? '\t' : ' ';
    }
    const auto room = end > at ? end - at : 1;
    return {shown, mark + std::string(std::min(room, static_cast<std::size_t>(std::max(1, width))), '^')};
}
}  // namespace

std::string Diagnostics::written(const SourceLocation& place) const {
    const auto found = texts_.find(place.source);
    if (found == texts_.end() || place.line < 1) return {};
    const auto all = characters(line_of(found->second, place.line));
    std::string text;
    for (int i = 0; i < place.width && static_cast<std::size_t>(place.column - 1 + i) < all.size(); ++i)
        text += all[static_cast<std::size_t>(place.column - 1 + i)];
    return text;
}

std::string Diagnostics::text() const {
    auto sorted = found_;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const Mistake& a, const Mistake& b) { return a.place < b.place; });
    std::string text;
    for (const auto& mistake : sorted) {
        const auto& [source, line, column, width] = mistake.place;
        text += fmt::format("error: {}\n", harmless(mistake.message));
        if (line > 0) {
            const auto number = std::to_string(line);
            const std::string margin(number.size(), ' ');
            text += fmt::format("{}--> {}:{}:{}\n", margin, harmless(source), line, column);
            const auto found = texts_.find(source);
            const auto shown = found == texts_.end() ? std::string() : line_of(found->second, line);
            const auto [near, mark] = marked(shown, column, width);
            if (!shown.empty()) text += fmt::format("{0} |\n{1} | {2}\n{0} | {3}\n", margin, number, near, mark);
        } else if (!source.empty()) {
            text += fmt::format(" --> {}\n", harmless(source));
        }
        if (!mistake.in.empty()) text += fmt::format("  = in: {}\n", harmless(mistake.in));
        if (!mistake.help.empty()) text += fmt::format("  = help: {}\n", harmless(mistake.help));
        text += "\n";
    }
    return text;
}

}  // namespace dtk
