#pragma once
// NumPy's format for several arrays: a ZIP archive of .npy files, here stored without compression.
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <string>
#include <vector>

namespace dtk {

/// An array as NumPy has it.
struct DTK_API NumpyArray {
    std::string name;
    std::string descr;  ///< NumPy's word for the type: "<f8", "<i8", "<U12", …
    std::vector<std::int64_t> shape;
    std::string bytes;  ///< row-major, little-endian

    /// The shape is that of one row of values if it is left out.
    static NumpyArray of(std::string name, const std::vector<double>& values, std::vector<std::int64_t> shape = {});
    static NumpyArray of(std::string name, const std::vector<std::int64_t>& values);
    /// UTF-8 texts, as NumPy's characters of four bytes.
    static NumpyArray of(std::string name, const std::vector<std::string>& values);
};

/// Writes the file atomically; the same arrays give the same bytes. Errors: Error where it would exceed 4 GiB, or two
/// arrays are of one name.
DTK_API void write_npz(const std::filesystem::path& path, const std::vector<NumpyArray>& arrays);

}  // namespace dtk
