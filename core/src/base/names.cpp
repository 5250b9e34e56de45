// The one check of every name that becomes part of a path.
#include "base/names.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace dtk {

namespace {
constexpr std::size_t longest_name = 255;  // bytes, of the file systems of Linux

/// Folders that a run makes in its own, and the endings of the files it writes there.
constexpr std::array<std::string_view, 6> folders_of_a_run{"checkpoints", "sampled",     "reproduced",
                                                           "images",      "tensorboard", "latest"};
constexpr std::array<std::string_view, 8> endings_of_a_run{".toml", ".json", ".jsonl", ".csv",
                                                           ".png",  ".svg",  ".npz",   ".safetensors"};

/// A character of Unicode that moves or hides what is written: U+0000 to U+001F and U+007F to U+009F.
bool is_control(unsigned char c, unsigned char next) {
    return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}
}  // namespace

bool is_utf8(std::string_view text) {
    const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    for (std::size_t i = 0; i < text.size();) {
        const auto first = at(i);
        const std::size_t length = first < 0x80                    ? 1
                                   : first >= 0xc2 && first < 0xe0 ? 2
                                   : first >= 0xe0 && first < 0xf0 ? 3
                                   : first >= 0xf0 && first < 0xf5 ? 4
                                                                   : 0;
        if (length == 0) return false;
        for (std::size_t k = 1; k < length; ++k)
            if ((at(i + k) & 0xc0) != 0x80) return false;
        // Neither longer than need be, nor half of a pair of UTF-16, nor beyond the last character.
        const auto second = at(i + 1);
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) || (first == 0xf0 && second < 0x90) ||
            (first == 0xf4 && second >= 0x90))
            return false;
        i += length;
    }
    return true;
}

std::string name_problem(std::string_view name) {
    if (name.empty()) return "is empty";
    for (std::size_t i = 0; i < name.size(); ++i)
        if (is_control(static_cast<unsigned char>(name[i]),
                       i + 1 < name.size() ? static_cast<unsigned char>(name[i + 1]) : 0))
            return fmt::format("holds a control character, at its place {}", i + 1);
    if (!is_utf8(name)) return "is not UTF-8";
    if (const auto at = name.find_first_of("/\\"); at != name.npos) return fmt::format("holds a {}", name[at]);
    if (name.front() == '.') return "begins with a dot";
    if (name.front() == ' ' || name.back() == ' ') return "begins or ends with a space";
    if (name.size() > longest_name)
        return fmt::format("is {} bytes long, and a folder's name has {} at most", name.size(), longest_name);
    return {};
}

std::string stage_name_problem(std::string_view name) {
    if (auto problem = name_problem(name); !problem.empty()) return problem;
    const bool taken = std::find(folders_of_a_run.begin(), folders_of_a_run.end(), name) != folders_of_a_run.end() ||
                       std::any_of(endings_of_a_run.begin(), endings_of_a_run.end(),
                                   [&](std::string_view ending) { return name.ends_with(ending); });
    return taken ? "may be that of something that the run itself writes" : "";
}

}  // namespace dtk
