#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <dtk/api.hpp>
#include <nlohmann/json.hpp>

namespace dtk {

/// What stands in the file: null where there is none, `discarded` (no object, no list) where it is damaged. Of a file
/// called run.json, result.json or study.json the fields that hold another type than dtk wrote are left out. `why` is
/// told what is wrong, such as "`seed` is a text, not a whole number".
DTK_API nlohmann::json read_json(const std::filesystem::path& file, std::string* why = nullptr);

/// The same where it must be there and whole. Errors: UserError that names the file and what is wrong with it.
DTK_API nlohmann::json read_record_file(const std::filesystem::path& file);

/// The objects of a file that has one on each line, of none where there is no file; a line that was cut short, or whose
/// step is no number, is left out.
DTK_API std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file);

/// A number as dtk writes it: what is not finite is the text "inf", "-inf" or "nan".
DTK_API nlohmann::json json_number(double value);

/// The number that json_number wrote; unset where it is no number.
DTK_API std::optional<double> number_of(const nlohmann::json& value);

/// The same of an object's field; not a number where there is no such object, field or number.
DTK_API double number_at(const nlohmann::json& object, const char* key);

/// A text as a field of a CSV file. One that a spreadsheet would take for a formula stands behind an apostrophe.
DTK_API std::string csv_field(const std::string& text);

}  // namespace dtk
