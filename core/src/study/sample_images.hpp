#pragma once
// Samples as 8-bit images, for tools that evaluate them: read from their file in portions, so that memory does not grow
// with their number.
#include <filesystem>

#include "study/run_store.hpp"

namespace dtk {

/// A PNG for each, 000000.png and so on, in folders by the class that was asked for where there are classes.
void export_images(const Record& record, const std::filesystem::path& folder);

/// `arr_0`, uint8 [n, height, width, channels], and where there are classes `arr_1`, int64 [n].
void export_uint8(const Record& record, const std::filesystem::path& file);

}  // namespace dtk
