#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <dtk/error.hpp>
#include <dtk/gzip.hpp>
#include <string_view>

#include "base/files.hpp"

namespace dtk {
namespace fs = std::filesystem;
namespace {

// Magic and deflate's method, RFC 1952 section 2.3.1.
constexpr std::array<unsigned char, 3> gzip_magic{0x1f, 0x8b, 8};
// A member's header and trailer.
constexpr std::uint64_t least_gzip_bytes = 18;

bool is_gzip(const InputFile& file) {
    std::array<unsigned char, 3> start{};
    if (file.size() < start.size()) return false;
    file.read(0, start.data(), start.size());
    return start == gzip_magic;
}

[[noreturn]] void damaged(const fs::path& path, std::string_view how) {
    throw Error(fmt::format("{} {}", path.string(), how), "the file was not copied whole: fetch it again");
}

/// Decompresses a gzip file, member after member, piece by piece.
class Inflater {
 public:
    Inflater(const InputFile& file, const fs::path& path) : file_(file), path_(path), input_(std::size_t{1} << 18) {
        if (inflateInit2(&stream_, 16 + MAX_WBITS) != Z_OK) throw Error("zlib has no memory left");
    }
    ~Inflater() { inflateEnd(&stream_); }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    /// Fills `to` as far as the content reaches. → bytes written
    std::size_t read(unsigned char* to, std::size_t bytes) {
        std::size_t written = 0;
        while (written < bytes && !finished_) {
            if (stream_.avail_in == 0) refill();
            const auto room = static_cast<uInt>(std::min<std::size_t>(bytes - written, std::size_t{1} << 30));
            stream_.next_out = to + written;
            stream_.avail_out = room;
            const int status = inflate(&stream_, Z_NO_FLUSH);
            written += room - stream_.avail_out;
            if (status == Z_STREAM_END)
                next_member();
            else if (status != Z_OK)
                damaged(path_, fmt::format("is damaged: {}", stream_.msg ? stream_.msg : zError(status)));
        }
        return written;
    }

 private:
    void refill() {
        if (offset_ == file_.size()) damaged(path_, "is cut short: its gzip data end too early");
        const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(file_.size() - offset_, input_.size()));
        file_.read(offset_, input_.data(), bytes);
        offset_ += bytes;
        stream_.next_in = input_.data();
        stream_.avail_in = static_cast<uInt>(bytes);
    }
    void next_member() {
        finished_ = stream_.avail_in == 0 && offset_ == file_.size();
        if (!finished_) inflateReset(&stream_);
    }

    const InputFile& file_;
    const fs::path& path_;
    std::vector<unsigned char> input_;
    std::uint64_t offset_ = 0;
    bool finished_ = false;
    z_stream stream_{};
};

std::uint64_t size_in_trailer(const InputFile& file, const fs::path& path) {
    if (file.size() < least_gzip_bytes) damaged(path, "is cut short: its gzip data end too early");
    std::array<unsigned char, 4> size{};
    file.read(file.size() - size.size(), size.data(), size.size());
    return size[0] | size[1] << 8 | size[2] << 16 | static_cast<std::uint64_t>(size[3]) << 24;
}

[[noreturn]] void too_long(const fs::path& path, std::uint64_t at_most) {
    throw Error(fmt::format("{} holds more than the {} bytes expected", path.string(), at_most),
                "is it the right file, or has something been appended to it?");
}

}  // namespace

FileGlance glance(const fs::path& path, std::size_t head_bytes) {
    const InputFile file(path);
    FileGlance seen{std::vector<unsigned char>(head_bytes), file.size()};
    if (is_gzip(file)) {
        seen.size = size_in_trailer(file, path);
        seen.head.resize(Inflater(file, path).read(seen.head.data(), head_bytes));
    } else {
        seen.head.resize(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), head_bytes)));
        file.read(0, seen.head.data(), seen.head.size());
    }
    return seen;
}

std::vector<unsigned char> read_maybe_gzip(const fs::path& path, std::uint64_t at_most) {
    const InputFile file(path);
    if (!is_gzip(file)) {
        if (file.size() > at_most) too_long(path, at_most);
        std::vector<unsigned char> bytes(static_cast<std::size_t>(file.size()));
        file.read(0, bytes.data(), bytes.size());
        return bytes;
    }
    // The trailer may lie in a damaged file: it is a first guess at the memory needed, never more than was asked for.
    const auto guess = std::min(size_in_trailer(file, path), at_most);
    std::vector<unsigned char> bytes(static_cast<std::size_t>(std::min(guess, 1100 * file.size())));
    Inflater inflater(file, path);
    std::size_t used = 0;
    while (true) {
        used += inflater.read(bytes.data() + used, bytes.size() - used);
        std::array<unsigned char, 4096> more;
        const auto got = inflater.read(more.data(), more.size());
        if (got == 0) break;
        if (used + got > at_most) too_long(path, at_most);
        bytes.insert(bytes.end(), more.begin(), more.begin() + static_cast<std::ptrdiff_t>(got));
        used += got;
        bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(2 * bytes.size(), at_most)));
    }
    bytes.resize(used);
    return bytes;
}

std::string sha256_of_files(const std::vector<fs::path>& paths) {
    if (paths.size() == 1) return sha256_of_file(paths.front());
    std::string digests;
    for (const auto& path : paths) digests += sha256_of_file(path);
    return sha256(digests);
}

}  // namespace dtk
