#pragma once
// Samples as 8-bit images, for tools that evaluate them: read from their file in portions, so that memory does not grow
// with their number.
#include <filesystem>

#include "study/run_store.hpp"

namespace dtk {

/// What the file of samples says that class 0, 1, … is called; empty where it says nothing.
std::vector<std::string> class_names_of(const std::filesystem::path& samples);

/// A PNG for each, 000000.png and so on; where there are classes in folders by the one that was asked for, with
/// labels.csv, which says the class of each file.
void export_images(const Record& record, const std::filesystem::path& folder);

/// `arr_0`, uint8 [n, height, width, channels], and where there are classes `arr_1`, int64 [n], and
/// their `class_names`, where they have names.
void export_uint8(const Record& record, const std::filesystem::path& file);

}  // namespace dtk
