#pragma once
// Which values of a metric are good; known without LibTorch, for whoever reads what was measured.
#include <optional>
#include <string_view>

#include <dtk/api.hpp>

namespace dtk {

/// Which values are good: small ones, large ones, or those near to what true samples give.
enum class Better { less, more, nearest };

/// "less", "more", "nearest".
DTK_API std::string_view name_of(Better better);

/// The direction of that name; unset where there is none.
DTK_API std::optional<Better> better_of(std::string_view name);

}  // namespace dtk
