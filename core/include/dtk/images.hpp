#pragma once
// PNG and JPEG files as tensors, for data sets that are folders of pictures.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <dtk/tensor.hpp>

namespace dtk {

/// An image file whose header was read. What the file is, its first bytes say: names are often wrong.
class DTK_API ImageFile {
 public:
    virtual ~ImageFile();
    /// → uint8 [height, width, channels], as they are stored: 16-bit values rounded to 8 bits, what is transparent laid
    /// on white. Once. Errors: Error for a file that is damaged or cut short.
    virtual Tensor pixels() = 0;

    std::int64_t height = 0, width = 0;
    std::int64_t channels = 0;  ///< 1: grey; 3: red, green, blue
    int orientation = 1;        ///< where the first row and column belong, as EXIF numbers it; 1: where they stand
};

/// Reads the header. Errors: Error for a file that is neither PNG nor JPEG, is damaged, has other channels or claims
/// more than 10⁸ pixels.
DTK_API std::unique_ptr<ImageFile> open_image(const std::filesystem::path& path);

/// Turned and mirrored as its camera's note says where `turn`, cropped around its centre to the proportions of height
/// and width, scaled by bilinear interpolation with antialiasing (where an image shrinks, a triangle that is two new
/// pixels wide) and rounded to 8 bits. Colours become grey as 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
/// → uint8 [channels, height, width]. Errors: as ImageFile::pixels
DTK_API Tensor fitted(ImageFile& image, std::int64_t channels, std::int64_t height, std::int64_t width,
                      bool turn = true);

/// The PNG and JPEG files under a folder, named from there, in the order of their names. Hidden files and folders do
/// not count, other files do not matter. Errors: Error where there is none, or an image in another format.
DTK_API std::vector<std::string> images_in(const std::filesystem::path& folder);

/// Does work(i) for i = 0 … n−1 on all threads. Errors: Error that tells of all images that have one, at once.
DTK_API void for_each_image(std::int64_t n, const std::function<void(std::int64_t)>& work);

}  // namespace dtk
