#pragma once
// The safetensors format: eight bytes of header length, a JSON header, raw row-major little-endian data.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

struct Safetensors {
    std::map<std::string, at::Tensor> tensors;
    std::map<std::string, std::string> metadata;
};

/// One tensor as the header describes it.
struct SafetensorsEntry {
    at::ScalarType dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t offset;  ///< of its first byte in the file
    std::uint64_t bytes;
};

struct SafetensorsHeader {
    std::map<std::string, SafetensorsEntry> entries;
    std::map<std::string, std::string> metadata;
};

/// Writes the file atomically, byte for byte as the reference writer orders it. Tensors may be on any device and of any
/// layout in memory; dtypes are float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8 and bool. Throws
/// Error.
DTK_API void save_safetensors(const std::filesystem::path& path, const Safetensors& content);

/// What stands in the file before the data of the tensors, which follow in the order of `save_safetensors`. Their
/// values need not be there (at::kMeta). Throws Error.
DTK_API std::string safetensors_start(const std::filesystem::path& path, const Safetensors& content);

/// Reads and checks the header alone: lengths, names, dtypes, shapes, and that the data is covered exactly.
/// Throws Error naming the file, the tensor and the reason. A header is at most 16 MB, 100 000 tensors, rank 8.
DTK_API SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

/// A digest of everything in it: names, dtypes, shapes and values of the tensors, and the metadata without the key
/// `checksum`, where it is kept. 64 hexadecimal digits.
DTK_API std::string checksum_of(const Safetensors& content);

/// Reads everything, to the CPU. Nothing is allocated for data before the whole header has been checked.
DTK_API Safetensors load_safetensors(const std::filesystem::path& path);

}  // namespace dtk
