#pragma once
// The one word of a camera's note (EXIF) that an image cannot be read without: how it was held.
#include <cstddef>

#include <dtk/api.hpp>

namespace dtk {

/// The orientation, 1 … 8, that a block of EXIF says: where the first row and column of the stored image belong, tag
/// 0x0112 of "Exchangeable image file format", JEITA CP-3451, 4.6.4. data: the block from its TIFF header on, "II*" or
/// "MM", or from the "Exif" before it. 1, as it is stored, where it says none or is damaged. Reads nothing outside the
/// block and no more than its first directory.
DTK_API int exif_orientation(const unsigned char* data, std::size_t size);

}  // namespace dtk
