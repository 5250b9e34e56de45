#pragma once
// NumPy's format for several arrays: a ZIP archive of .npy files, here stored without compression.
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dtk {

/// An array as NumPy has it.
struct DTK_API NumpyArray {
    std::string name;
    std::string descr;  ///< NumPy's word for the type: "<f8", "<i8", "<U12", …
    std::vector<std::int64_t> shape;
    std::string bytes;  ///< row-major, little-endian
    /// In the place of `bytes`, where they are many: tells the taker of them piece by piece, the same each time.
    std::function<void(const std::function<void(std::string_view)>& take)> pieces = {};

    /// The shape is that of one row of values if it is left out.
    static NumpyArray of(std::string name, const std::vector<double>& values, std::vector<std::int64_t> shape = {});
    static NumpyArray of(std::string name, const std::vector<std::int64_t>& values);
    /// UTF-8 texts, as NumPy's characters of four bytes.
    static NumpyArray of(std::string name, const std::vector<std::string>& values);
};

/// Writes the file atomically; the same arrays give the same bytes. What exceeds 4 GiB is told in ZIP64's way. Errors:
/// Error where two arrays are of one name.
DTK_API void write_npz(const std::filesystem::path& path, const std::vector<NumpyArray>& arrays);

}  // namespace dtk
