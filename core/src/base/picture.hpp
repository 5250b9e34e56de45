#pragma once
// Pictures of samples: grids of images as PNG.
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <span>
#include <string>

namespace dtk {

/// Images one after the other, rows from the top, channels last: [count][height][width][channels], 1 or 3 channels.
struct Images {
    std::span<const std::uint8_t> pixels;
    std::int64_t count, height, width, channels;
};

struct GridLook {
    std::int64_t columns = 0;  ///< 0: as near to a square as `count` allows
    std::int64_t scale = 0;    ///< each pixel becomes scale × scale; 0: so that the grid is at least about 600 wide
    std::int64_t gap = 0;      ///< pixels of white between images, after scaling
    std::string provenance{};  ///< kept in the file as the PNG text "Description"
    std::string labels{};      ///< what the images are of, kept as the PNG text "Labels"
};

/// → the bytes of a PNG file. Throws Error if the sizes do not fit the pixels.
DTK_API std::string png_of(const Images& images, const GridLook& look = {});
DTK_API void write_image_grid(const std::filesystem::path& path, const Images& images, const GridLook& look = {});

}  // namespace dtk
