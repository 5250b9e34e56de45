#pragma once
// toml++ with limits that no honest experiment file meets.
#include <filesystem>

#define TOML_HEADER_ONLY 1
#define TOML_MAX_NESTED_VALUES 32
// toml++ asserts, or lets an optimised build assume, that a key follows "[": a damaged file breaks that. Without either
// it says what it met.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include "base/diagnostics.hpp"

namespace dtk {

/// Where a value or key stands.
DTK_API SourceLocation place_of(const toml::source_region& region);
/// The same of a value; one that was put together stands where the first of its parts does.
DTK_API SourceLocation place_of(const toml::node& node);

/// The file. What is wrong goes into `mistakes`, and the table is then empty.
DTK_API toml::table read_toml(const std::filesystem::path& file, Diagnostics& mistakes);

/// A text as TOML, on one line.
DTK_API std::string toml_string(std::string_view text);

/// A number in the fewest digits that read back as the same number, with a point.
DTK_API std::string toml_number(double value);

/// The value on one line, as it stands after a key.
DTK_API std::string toml_value(const toml::node& node);

/// The table as a file: plain values first, `use` before all, then tables, then lists of tables.
DTK_API std::string toml_text(const toml::table& table);

}  // namespace dtk
