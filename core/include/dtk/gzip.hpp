#pragma once
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <string>
#include <vector>

namespace dtk {

/// What can be said of a file, compressed with gzip or not, from its two ends.
struct FileGlance {
    std::vector<unsigned char> head;  ///< its first bytes, decompressed
    /// Bytes it holds, decompressed. Of a gzip file this is what its last four bytes say: true of every sound file of
    /// one member below 4 GiB, so ask read_maybe_gzip before you call a file wrong.
    std::uint64_t size = 0;
};

/// Up to `head_bytes` of the start, and the size. Errors: Error with the system's reason, or for a file that cannot be
/// decompressed.
DTK_API FileGlance glance(const std::filesystem::path& path, std::size_t head_bytes);

/// The whole file, decompressed if it is gzip, check sums verified. Errors: Error if it cannot be read, is cut short,
/// is damaged, or holds more than `at_most` bytes.
DTK_API std::vector<unsigned char> read_maybe_gzip(const std::filesystem::path& path, std::uint64_t at_most);

/// SHA-256 in hexadecimal: of one file its own, of several that of their digests written one after the other.
DTK_API std::string sha256_of_files(const std::vector<std::filesystem::path>& paths);

}  // namespace dtk
