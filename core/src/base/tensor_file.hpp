#pragma once
// Safetensors files read as bytes, for what needs no LibTorch.
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace dtk {

/// A tensor as it lies in the file: row-major, little-endian.
struct RawTensor {
    std::string dtype;  ///< as the format calls it: "F32", "I64", …
    std::vector<std::int64_t> shape;
    std::string bytes;
    /// Its elements as numbers. Errors: Error for a dtype that dtk does not write.
    DTK_API std::vector<double> numbers() const;
};

/// Every tensor of the file. Errors: Error naming the file and what is wrong with it.
DTK_API std::map<std::string, RawTensor> read_tensors(const std::filesystem::path& path);

}  // namespace dtk
