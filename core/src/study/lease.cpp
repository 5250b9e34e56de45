#include "study/lease.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include <fmt/format.h>

#include <dtk/error.hpp>

namespace dtk {

namespace fs = std::filesystem;

namespace {

std::string host_name() {
    if (const char* posed = std::getenv("DTK_HOST")) return posed;
    char name[256] = {};
    ::gethostname(name, sizeof name - 1);
    return name;
}

std::string contents(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// A name beside `file` that nobody else uses.
fs::path beside(const fs::path& file, const char* what) {
    static std::atomic<unsigned> count{0};
    return file.parent_path() /
           fmt::format(".{}.{}-{}-{}-{}", file.filename().string(), what, host_name(), ::getpid(), ++count);
}

/// Seconds since the file was touched, by the clock of whoever keeps the files.
double age(const fs::path& file) {
    struct stat of_file, now;
    const auto probe = beside(file, "now");
    const int made = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (made < 0) return 0;
    ::fstat(made, &now);
    ::close(made);
    ::unlink(probe.c_str());
    if (::stat(file.c_str(), &of_file) != 0) return 0;
    return static_cast<double>(now.st_mtim.tv_sec - of_file.st_mtim.tv_sec) +
           1e-9 * static_cast<double>(now.st_mtim.tv_nsec - of_file.st_mtim.tv_nsec);
}

bool is_stale(const fs::path& file, const std::string& mark) {
    const auto first = mark.find(' '), second = mark.find(' ', first + 1);
    if (first == mark.npos || second == mark.npos)
        return age(file) > lease_seconds();  // torn: its writer died, or is about to go on
    const long pid = std::atol(mark.c_str() + first + 1);
    if (mark.substr(0, first) == host_name() && pid > 0 && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH)
        return true;
    return age(file) > lease_seconds();
}

/// The lease under its final name, complete, if there is none: a hard link is made once only, on network file systems
/// too.
bool put(const fs::path& file, const std::string& mark) {
    const auto draft = beside(file, "draft");
    {
        std::ofstream out(draft, std::ios::binary);
        out << mark << std::flush;
        if (!out) throw Error(fmt::format("cannot write {}", draft.string()), "is the disk full, may you write there?");
    }
    const bool made = ::link(draft.c_str(), file.c_str()) == 0;
    const int reason = errno;
    ::unlink(draft.c_str());
    if (!made && reason != EEXIST)
        throw Error(fmt::format("cannot make {}: {}", file.string(), std::strerror(reason)),
                    "a study's folder needs hard links");
    return made;
}

}  // namespace

double lease_seconds() {
    const char* said = std::getenv("DTK_LEASE_SECONDS");
    const double seconds = said ? std::atof(said) : 0;
    return seconds > 0 ? seconds : 60;
}

std::optional<Lease> Lease::take(const fs::path& file) {
    static std::random_device device;
    const auto mark = fmt::format("{} {} {:08x}{:08x}\n", host_name(), ::getpid(), device(), device());
    if (put(file, mark)) return Lease(file, mark);
    const auto theirs = contents(file);
    if (!is_stale(file, theirs)) return std::nullopt;
    // Moved aside before it is removed: of several who find it stale one gets it, and one who gets a fresh lease
    // instead gives it back.
    const auto aside = beside(file, "stale");
    if (::rename(file.c_str(), aside.c_str()) != 0) return std::nullopt;
    if (contents(aside) != theirs) {
        if (::link(aside.c_str(), file.c_str()) != 0) errno = 0;  // somebody has made another meanwhile
        ::unlink(aside.c_str());
        return std::nullopt;
    }
    ::unlink(aside.c_str());
    if (put(file, mark)) return Lease(file, mark);
    return std::nullopt;
}

Lease::Lease(Lease&& other) noexcept : file_(std::move(other.file_)), mark_(std::move(other.mark_)) {
    other.file_.clear();
}

Lease& Lease::operator=(Lease&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(mark_, other.mark_);
    return *this;
}

Lease::~Lease() {
    if (!file_.empty() && contents(file_) == mark_) ::unlink(file_.c_str());
}

bool Lease::touch() const {
    if (contents(file_) != mark_) return false;
    ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0);
    return true;
}

}  // namespace dtk
