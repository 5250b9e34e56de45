#include "base/words.hpp"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace dtk {

namespace {
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i)
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const bool same = a[i - 1] == b[j - 1];
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + !same});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[a.size()][b.size()];
}
}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
    std::string best;
    std::size_t least = std::max<std::size_t>(1, std::max<std::size_t>(word.size(), 3) / 3) + 1;
    for (const auto& candidate : known)
        if (const auto d = distance(word, candidate); d < least) {
            least = d;
            best = candidate;
        }
    if (!best.empty() || word.size() < 3) return best;
    for (const auto& candidate : known)  // `diffusion_steps` for `steps`
        if (candidate.size() > 2 && (candidate.find(word) == 0 || word.find(candidate) != word.npos)) return candidate;
    return {};
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known, std::string otherwise) {
    const auto near = nearest(word, known);
    return near.empty() ? std::move(otherwise) : fmt::format("did you mean `{}`?", near);
}

std::string listed(const std::vector<std::string>& words, std::string_view last) {
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) text += i + 1 == words.size() ? " " + std::string(last) + " " : ", ";
        text += words[i];
    }
    return text;
}

namespace {
/// How many bytes from here on are a control character of Unicode, or bytes that are none at all.
std::size_t control(std::string_view text) {
    const auto first = static_cast<unsigned char>(text.front());
    if (first < 0x20 || first == 0x7f) return 1;
    if (first == 0xc2 && text.size() > 1 && static_cast<unsigned char>(text[1]) < 0xa0) return 2;
    // Marks that turn the direction of writing round: U+202A to U+202E and U+2066 to U+2069.
    if (text.starts_with("\xe2\x80") && text.size() > 2 && text[2] >= '\xaa' && text[2] <= '\xae') return 3;
    if (text.starts_with("\xe2\x81") && text.size() > 2 && text[2] >= '\xa6' && text[2] <= '\xa9') return 3;
    return 0;
}

std::string in_hex(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return text;
}
}  // namespace

std::string harmless(std::string_view text, bool one_line) {
    std::string shown;
    while (!text.empty()) {
        const auto bytes = text.front() == '\n' && !one_line ? 0 : control(text);
        shown += bytes > 0 ? in_hex(text.substr(0, bytes)) : std::string(1, text.front());
        text.remove_prefix(std::max<std::size_t>(1, bytes));
    }
    return shown;
}

std::string without_stack(std::string message) {
    if (const auto at = message.find("\nException raised from"); at != message.npos) message.erase(at);
    return message;
}

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

std::string shell_word(std::string_view word) {
    constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,/:@%";
    if (!word.empty() && word.find_first_not_of(plain) == word.npos) return std::string(word);
    bool escapes = false;
    for (std::size_t i = 0; i < word.size(); ++i) escapes = escapes || control(word.substr(i)) > 0;
    // '…' takes everything as it is but itself; $'…' knows escapes.
    std::string text = escapes ? "$'" : "'";
    for (auto rest = word; !rest.empty();) {
        const auto bytes = control(rest);
        const char c = rest.front();
        if (bytes > 0)
            text += in_hex(rest.substr(0, bytes));
        else if (c == '\'')
            text += escapes ? "\\'" : "'\\''";
        else if (c == '\\' && escapes)
            text += "\\\\";
        else
            text += c;
        rest.remove_prefix(std::max<std::size_t>(1, bytes));
    }
    return text + "'";
}

std::string shell_command(const std::vector<std::string>& words) {
    std::string command;
    for (const auto& word : words) command += (command.empty() ? "" : " ") + shell_word(word);
    return command;
}

}  // namespace dtk
