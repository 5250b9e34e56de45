// The names of the directions of metrics.
#include <dtk/better.hpp>

namespace dtk {

std::string_view name_of(Better better) {
    switch (better) {
        case Better::less:
            return "less";
        case Better::more:
            return "more";
        case Better::nearest:
            break;
    }
    return "nearest";
}

std::optional<Better> better_of(std::string_view name) {
    for (const auto better : {Better::less, Better::more, Better::nearest})
        if (name == name_of(better)) return better;
    return std::nullopt;
}

}  // namespace dtk
