#include "base/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <dtk/error.hpp>
#include <random>
#include <system_error>
#include <utility>

#include "base/lease.hpp"
#include "base/owner.hpp"

namespace dtk {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view temporary_prefix = ".dtk-", temporary_suffix = ".tmp";
// Linux moves no more than this in one call.
constexpr std::size_t most_at_once = 1u << 30;

std::string cure(int reason, const fs::path& path) {
    switch (reason) {
        case ENOSPC:
        case EDQUOT:
            return "free some space there, or choose another folder";
        case EFBIG:
            return "the size of files is limited here: see `ulimit -f`";
        case EACCES:
        case EPERM:
        case EROFS:
            return "check its permissions, or choose another place";
        case ENOENT: {
            std::error_code ignored;
            const auto folder = path.parent_path();
            if (!folder.empty() && !fs::exists(folder, ignored))
                return fmt::format("there is no folder {}", folder.string());
            return {};
        }
        default:
            return {};
    }
}

[[noreturn]] void fail(const char* verb, const fs::path& path, int reason) {
    throw Error(fmt::format("cannot {} {}: {}", verb, path.string(), std::generic_category().message(reason)),
                cure(reason, path));
}

class FileDescriptor {
 public:
    explicit FileDescriptor(int value) : value_(value) {}
    ~FileDescriptor() {
        if (value_ >= 0) ::close(value_);
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    operator int() const { return value_; }
    int release() { return std::exchange(value_, -1); }
    int close() { return ::close(release()); }

 private:
    int value_;
};

class Temporary {
 public:
    explicit Temporary(fs::path path) : path_(std::move(path)) {}
    ~Temporary() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    const char* c_str() const { return path_.c_str(); }
    void keep() { path_.clear(); }

 private:
    fs::path path_;
};

// A file that meets its size limit is an error to report, not a reason to die.
void ignore_size_signal() {
    static const auto previous = std::signal(SIGXFSZ, SIG_IGN);
    (void)previous;
}

/// → 0, or the system's reason.
int write_all(int descriptor, const char* data, std::size_t bytes) {
    while (bytes > 0) {
        const auto written = ::write(descriptor, data, std::min(bytes, most_at_once));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return written < 0 ? errno : EIO;
        data += written;
        bytes -= static_cast<std::size_t>(written);
    }
    return 0;
}

int sync(int descriptor) {
    while (::fsync(descriptor) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

// The rename itself is only safe from a power cut once the folder is written. Some file systems cannot sync a folder;
// there it is as safe as they make it.
void sync_folder(const fs::path& path) {
    const FileDescriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder >= 0 && sync(folder) == EIO) fail("write", path, EIO);
}

template <class Take>
void read_in_pieces(const fs::path& path, Take take) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file < 0) fail("read", path, errno);
    std::string piece(std::size_t{1} << 18, '\0');
    while (true) {
        const auto got = ::read(file, piece.data(), piece.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail("read", path, errno);
        if (got == 0) return;
        take(std::string_view(piece.data(), static_cast<std::size_t>(got)));
    }
}

}  // namespace

void OutputFile::write(const void* data, std::size_t bytes) {
    if (const int reason = write_all(descriptor_, static_cast<const char*>(data), bytes)) fail("write", named_, reason);
}

void write_atomically(const fs::path& path, const std::function<void(OutputFile&)>& fill) {
    ignore_size_signal();
    std::error_code ignored;
    const auto there = fs::symlink_status(path, ignored);
    if (fs::exists(there) && !fs::is_regular_file(there) && !fs::is_symlink(there))
        throw Error(fmt::format("cannot write {}: it is no regular file", path.string()), "choose another name");

    const auto name = temporary_beside(path);
    FileDescriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file < 0) fail("write", path, errno);
    Temporary temporary(name);
    OutputFile output(file, path);
    fill(output);
    if (const int reason = sync(file)) fail("write", path, reason);
    if (file.close() != 0 && errno != EINTR) fail("write", path, errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail("write", path, errno);
    temporary.keep();
    sync_folder(path);
}

void write_atomically(const fs::path& path, std::string_view bytes) {
    write_atomically(path, [bytes](OutputFile& file) { file.write(bytes); });
}

fs::path temporary_beside(const fs::path& path) {
    static std::atomic<unsigned> count{0};
    // Where the kernel does not tell processes apart, chance does.
    static const auto chance = std::random_device()();
    return folder_of(path) /
           fmt::format("{}{:08x}.{}-{}{}", temporary_prefix, chance, ++count, Owner::self().word(), temporary_suffix);
}

bool is_temporary(const fs::path& path) {
    const auto name = path.filename().string();
    return name.starts_with(temporary_prefix) && name.ends_with(temporary_suffix);
}

void remove_temporaries(const fs::path& folder) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
        if (!is_temporary(entry.path())) continue;
        const auto filename = entry.path().filename().string();
        std::string_view name = filename;
        name.remove_prefix(temporary_prefix.size());
        name.remove_suffix(temporary_suffix.size());
        const auto owner = Owner::of(name.substr(std::min(name.find('-') + 1, name.size())));
        if ((owner && owner->gone()) || seconds_since_written(entry.path()) > 10 * lease_seconds())
            fs::remove(entry.path(), ignored);
    }
}

double seconds_since_written(const fs::path& file) {
    struct ::stat of_file, now;
    if (::stat(file.c_str(), &of_file) != 0) return 0;
    // The clock of the file system need not be this host's: a file made now shows it.
    const auto probe = temporary_beside(file);
    const int made = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (made < 0) return 0;
    const bool known = ::fstat(made, &now) == 0;
    ::close(made);
    ::unlink(probe.c_str());
    if (!known) return 0;
    return static_cast<double>(now.st_mtim.tv_sec - of_file.st_mtim.tv_sec) +
           1e-9 * static_cast<double>(now.st_mtim.tv_nsec - of_file.st_mtim.tv_nsec);
}

void append_line(const fs::path& path, std::string_view line) {
    ignore_size_signal();
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
    if (file < 0) fail("write", path, errno);
    const auto end = ::lseek(file, 0, SEEK_END);
    char last = '\n';
    if (end > 0 && ::pread(file, &last, 1, end - 1) != 1) fail("write", path, errno);

    std::string text;
    text.reserve(line.size() + 2);
    if (last != '\n') text += '\n';
    text.append(line) += '\n';
    if (const int reason = write_all(file, text.data(), text.size())) {
        if (::ftruncate(file, end) != 0) fail("write", path, errno);
        fail("write", path, reason);
    }
    if (file.close() != 0 && errno != EINTR) fail("write", path, errno);
}

InputFile::InputFile(fs::path path)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), size_(0) {
    struct ::stat facts;
    if (descriptor_ < 0) fail("read", path_, errno);
    FileDescriptor file(descriptor_);  // closes it if this constructor throws
    if (::fstat(file, &facts) != 0) fail("read", path_, errno);
    if (!S_ISREG(facts.st_mode)) throw Error(fmt::format("cannot read {}: it is no regular file", path_.string()));
    size_ = static_cast<std::uint64_t>(facts.st_size);
    file.release();
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(std::uint64_t offset, void* to, std::size_t bytes) const {
    auto* place = static_cast<char*>(to);
    while (bytes > 0) {
        const auto got = ::pread(descriptor_, place, std::min(bytes, most_at_once), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail("read", path_, errno);
        if (got == 0)
            throw Error(
                fmt::format("{} is cut short: it ends at byte {}, {} more expected", path_.string(), offset, bytes));
        place += got;
        offset += static_cast<std::uint64_t>(got);
        bytes -= static_cast<std::size_t>(got);
    }
}

std::string read_file(const fs::path& path, std::uint64_t at_most) {
    std::string text;
    read_in_pieces(path, [&](std::string_view piece) {
        if (piece.size() > at_most - text.size())
            throw Error(fmt::format("{} is too large: more than {} bytes", path.string(), at_most));
        text += piece;
    });
    return text;
}

namespace {
EVP_MD_CTX* digest(void* context) { return static_cast<EVP_MD_CTX*>(context); }
void check_digest(bool done) {
    if (!done) throw Error("SHA-256 failed in OpenSSL", "check the installation of libcrypto");
}
}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    check_digest(context_ && EVP_DigestInit_ex(digest(context_), EVP_sha256(), nullptr));
}

Sha256::~Sha256() { EVP_MD_CTX_free(digest(context_)); }

void Sha256::add(const void* data, std::size_t bytes) { check_digest(EVP_DigestUpdate(digest(context_), data, bytes)); }

std::string Sha256::hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
    unsigned size = 0;
    check_digest(EVP_DigestFinal_ex(digest(context_), bytes.data(), &size));
    std::string text;
    for (unsigned i = 0; i < size; ++i) fmt::format_to(std::back_inserter(text), "{:02x}", bytes[i]);
    return text;
}

std::string sha256(std::string_view bytes) {
    Sha256 digest;
    digest.add(bytes);
    return digest.hex();
}

std::string sha256_of_file(const fs::path& path) {
    Sha256 digest;
    read_in_pieces(path, [&](std::string_view piece) { digest.add(piece); });
    return digest.hex();
}

}  // namespace dtk
