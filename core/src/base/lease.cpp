#include "base/lease.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <random>
#include <sstream>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include <dtk/error.hpp>

#include "base/files.hpp"
#include "base/owner.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// The file's text, nothing where it cannot be read. `missing` is told whether there is none.
std::optional<std::string> contents(const fs::path& file, bool* missing = nullptr) {
    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (missing) *missing = !in && errno == ENOENT;
    if (!in) return std::nullopt;
    std::string text{std::istreambuf_iterator<char>(in), {}};
    return in.bad() ? std::nullopt : std::optional(text);
}

/// "host owner nonce" → who that is; nothing for a torn one, whose writer died or is about to go on.
std::optional<Owner> owner_in(const std::string& mark) {
    std::istringstream words(mark);
    std::string host, owner, nonce;
    return mark.ends_with('\n') && words >> host >> owner >> nonce ? Owner::of(owner) : std::nullopt;
}

bool is_stale(const fs::path& file, const std::string& mark) {
    const auto owner = owner_in(mark);
    return (owner && owner->gone()) || seconds_since_written(file) > lease_seconds();
}

/// The lease under its final name, complete, if there is none: a hard link is made once only, on network file systems
/// too. Where there are no hard links, a file made anew has to do.
bool put(const fs::path& file, const std::string& mark) {
    const auto refuse = [&](int reason) {
        throw Error(fmt::format("cannot make {}: {}", file.string(), std::strerror(reason)),
                    "is the disk full, may you write there?");
    };
    const auto write = [&](const fs::path& to) {
        const int made = ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (made < 0) return errno;
        const auto written = ::write(made, mark.data(), mark.size());
        const int reason = written < 0 ? errno : written != static_cast<ssize_t>(mark.size()) ? ENOSPC : 0;
        ::close(made);
        if (reason != 0) ::unlink(to.c_str());
        return reason;
    };
    const auto draft = temporary_beside(file);
    if (const int reason = write(draft)) refuse(reason);
    int reason = ::link(draft.c_str(), file.c_str()) == 0 ? 0 : errno;
    ::unlink(draft.c_str());
    if (reason == EPERM || reason == EOPNOTSUPP || reason == ENOSYS || reason == EMLINK) reason = write(file);
    if (reason != 0 && reason != EEXIST) refuse(reason);
    return reason == 0;
}

}  // namespace

double lease_seconds() {
    const char* said = std::getenv("DTK_LEASE_SECONDS");
    const double seconds = said ? std::atof(said) : 0;
    return seconds > 0 ? seconds : 60;
}

std::optional<Lease> Lease::take(const fs::path& file) {
    static std::random_device device;
    const auto self = Owner::self();
    const auto mark = fmt::format("{} {} {:08x}{:08x}\n", self.host, self.word(), device(), device());
    if (put(file, mark)) return Lease(file, mark);
    const auto theirs = contents(file);
    if (!theirs || !is_stale(file, *theirs)) return std::nullopt;
    // Moved aside before it is removed: of several who find it stale one gets it, and one who gets a fresh lease
    // instead gives it back.
    const auto aside = temporary_beside(file);
    if (::rename(file.c_str(), aside.c_str()) != 0) return std::nullopt;
    if (contents(aside) != theirs) {
        // Where somebody has made another meanwhile, that one stays.
        const bool given_back = ::link(aside.c_str(), file.c_str()) == 0;
        ::unlink(aside.c_str());
        if (!given_back) errno = 0;
        return std::nullopt;
    }
    ::unlink(aside.c_str());
    if (put(file, mark)) return Lease(file, mark);
    return std::nullopt;
}

bool Lease::held(const fs::path& file) {
    const auto mark = contents(file);
    return mark && !is_stale(file, *mark);
}

std::string Lease::holder(const fs::path& file) {
    const auto owner = owner_in(contents(file).value_or(""));
    return owner ? owner->text() : "another process";
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
    bool missing = false;
    const auto there = contents(file_, &missing);
    if (there && *there != mark_) return false;
    if (there) ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0);
    // A file that cannot be read just now, on a network that is down, is nobody else's yet.
    if (!missing) return true;
    try {
        return put(file_, mark_);
    } catch (const Error&) {
        return true;
    }
}

struct KeptLease::Keeper {
    explicit Keeper(Lease taken) : lease(std::move(taken)), thread([this] { keep(); }) {}
    ~Keeper() {
        {
            const std::lock_guard lock(mutex);
            done = true;
        }
        ended.notify_all();
        thread.join();
    }
    void keep() {
        std::unique_lock lock(mutex);
        const auto pause = std::chrono::duration<double>(lease_seconds() / 12);
        while (!ended.wait_for(lock, pause, [this] { return done; })) {
            if (lease.touch()) continue;
            constexpr std::string_view last =
                "error: this process was stopped for so long that another one has taken its run over\n";
            if (::write(STDERR_FILENO, last.data(), last.size()) < 0) errno = 0;  // nobody listens
            std::_Exit(1);
        }
    }
    Lease lease;
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
    std::thread thread;
};

KeptLease::KeptLease(Lease lease) : keeper_(std::make_unique<Keeper>(std::move(lease))) {}
KeptLease::KeptLease(KeptLease&&) noexcept = default;
KeptLease& KeptLease::operator=(KeptLease&&) noexcept = default;
KeptLease::~KeptLease() = default;

}  // namespace dtk
