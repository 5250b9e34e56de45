#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// Which of the known words did they mean? Empty when none is near (Damerau–Levenshtein, a third of the length).
DTK_API std::string nearest(std::string_view word, const std::vector<std::string>& known);

/// "did you mean `that`?" of the known word that is nearest; `otherwise` where none is near.
DTK_API std::string did_you_mean(std::string_view word, const std::vector<std::string>& known, std::string otherwise);

/// "a, b and c".
DTK_API std::string listed(const std::vector<std::string>& words, std::string_view last = "and");

/// The text for a terminal: what would move its cursor, clear it or hide something is shown as \x1b and the like. Line
/// ends stay, unless all is to be on one line.
DTK_API std::string harmless(std::string_view text, bool one_line = false);

/// What an error of LibTorch's says before it lists its stack.
DTK_API std::string without_stack(std::string message);

/// What the environment says under that name; empty where it says nothing.
DTK_API std::string environment(const char* name);

/// The word as it is typed in a shell, in quotes where it needs them.
DTK_API std::string shell_word(std::string_view word);

/// The words as a command that can be pasted.
DTK_API std::string shell_command(const std::vector<std::string>& words);

}  // namespace dtk
