#pragma once
// TensorBoard's event files: records framed by their length and masked CRC-32C, each an Event in protobuf's encoding.
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <string>
#include <string_view>

namespace dtk {

/// CRC-32C (Castagnoli), as in RFC 3720.
DTK_API std::uint32_t crc32c(std::string_view bytes);

/// An event file as it grows in memory.
class DTK_API EventFile {
 public:
    /// `wall_time` of everything: seconds since 1970.
    explicit EventFile(double wall_time);
    void scalar(std::string_view tag, std::int64_t step, double wall_time, double value);
    /// A PNG file with its size in pixels and its colours: 1 grey, 3 RGB, 4 RGBA.
    void image(std::string_view tag, std::int64_t step, double wall_time, std::string_view png, std::int64_t width,
               std::int64_t height, int colours);
    const std::string& bytes() const { return bytes_; }

 private:
    void record(std::string_view event);
    std::string bytes_;
};

}  // namespace dtk
