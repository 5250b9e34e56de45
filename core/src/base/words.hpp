#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// Which of the known words did they mean? Empty when none is near (Damerau–Levenshtein, a third of the length).
DTK_API std::string nearest(std::string_view word, const std::vector<std::string>& known);

/// "a, b and c".
DTK_API std::string listed(const std::vector<std::string>& words, std::string_view last = "and");

}  // namespace dtk
