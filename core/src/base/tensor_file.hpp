#pragma once
// The safetensors format, read without LibTorch: eight bytes of header length, a JSON header, raw row-major
// little-endian data.
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/files.hpp"

namespace dtk {

namespace tensor_header {
constexpr std::uint64_t length_bytes = 8, most_bytes = 16'000'000;
constexpr std::size_t most_tensors = 100'000, most_dimensions = 8;
constexpr const char* metadata_key = "__metadata__";
}  // namespace tensor_header

/// One tensor as the header describes it.
struct TensorEntry {
    std::string dtype;  ///< as the format calls it: "F32", "I64", …, one that dtk knows
    std::vector<std::int64_t> shape;
    std::uint64_t offset;  ///< of its first byte in the file
    std::uint64_t bytes;
};

struct TensorHeader {
    std::map<std::string, TensorEntry> entries;
    std::map<std::string, std::string> metadata;
};

/// Reads and checks the header: lengths, names, dtypes, shapes, and that the data is covered exactly. `path` is for
/// messages. Errors: Error naming the file, the tensor and the reason.
DTK_API TensorHeader read_tensor_header(const InputFile& file, const std::filesystem::path& path);

/// A name from a file we do not trust, fit for one line of a terminal.
DTK_API std::string quoted_name(const std::string& name);

/// Throws the Error that the tensor of that file is not usable.
[[noreturn]] DTK_API void refuse_tensor(const std::filesystem::path& path, const std::string& name,
                                        const std::string& reason);

/// A tensor as it lies in the file.
struct RawTensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
    /// Its elements as numbers.
    DTK_API std::vector<double> numbers() const;
};

/// Every tensor of the file. Errors: as read_tensor_header.
DTK_API std::map<std::string, RawTensor> read_tensors(const std::filesystem::path& path);

}  // namespace dtk
