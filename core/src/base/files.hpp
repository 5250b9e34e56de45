#pragma once
#include <cstddef>
#include <cstdint>
#include <dtk/api.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace dtk {

/// The half of write_atomically that the caller fills.
class DTK_API OutputFile {
 public:
    OutputFile(int descriptor, const std::filesystem::path& named) : descriptor_(descriptor), named_(named) {}
    /// Appends the bytes. Throws Error with the system's reason (no space, a size limit, …).
    void write(const void* data, std::size_t bytes);
    void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }

 private:
    int descriptor_;
    const std::filesystem::path& named_;
};

/// Puts a whole new file in the place of `path`, or throws and leaves what was there: written under a temporary name in
/// the same folder, synced, renamed. The folder must exist. A link is replaced, not followed; anything else that is no
/// regular file (a folder, /dev/null) is refused.
DTK_API void write_atomically(const std::filesystem::path& path, const std::function<void(OutputFile&)>& fill);
DTK_API void write_atomically(const std::filesystem::path& path, std::string_view bytes);

/// A name in the folder of `path` that no other process on any host uses, and this one only once. It says whose it is.
DTK_API std::filesystem::path temporary_beside(const std::filesystem::path& path);

/// Is that the name of such a file?
DTK_API bool is_temporary(const std::filesystem::path& path);

/// Removes what killed writes left in `folder`: temporary files whose writer has certainly ended, or that nobody has
/// written to for ten times lease_seconds(). Those of a live writer stay.
DTK_API void remove_temporaries(const std::filesystem::path& folder);

/// Seconds since the file was written to or touched, by the clock of whoever keeps the files; 0 where that is not
/// known.
DTK_API double seconds_since_written(const std::filesystem::path& file);

/// Adds one line (given without its newline) in one write, creating the file if need be. A write that fails half-way is
/// taken back; a line that a killed process left unfinished is ended first, so that it spoils no other.
DTK_API void append_line(const std::filesystem::path& path, std::string_view line);

/// A regular file opened for reading at any place.
class DTK_API InputFile {
 public:
    explicit InputFile(std::filesystem::path path);
    ~InputFile();
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    /// Its size in bytes when it was opened.
    std::uint64_t size() const noexcept { return size_; }
    /// Reads exactly `bytes` from `offset` on. Throws Error if there are fewer.
    void read(std::uint64_t offset, void* to, std::size_t bytes) const;

 private:
    std::filesystem::path path_;
    int descriptor_;
    std::uint64_t size_;
};

/// The whole file, or all that a pipe gives. Throws Error if it cannot be read or holds more than `at_most` bytes.
DTK_API std::string read_file(const std::filesystem::path& path, std::uint64_t at_most = std::uint64_t{1} << 40);

/// SHA-256 of bytes that come one part after the other.
class DTK_API Sha256 {
 public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;
    void add(const void* data, std::size_t bytes);
    void add(std::string_view bytes) { add(bytes.data(), bytes.size()); }
    /// 64 hexadecimal digits; nothing can be added afterwards.
    std::string hex();

 private:
    void* context_;
};

/// SHA-256 as 64 hexadecimal digits.
DTK_API std::string sha256(std::string_view bytes);
DTK_API std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace dtk
