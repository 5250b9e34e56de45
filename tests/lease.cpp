// Who a process is, and who has a lease: seen from the same place, another PID namespace, another host, and later.
#include "base/lease.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

#include "base/files.hpp"
#include "base/owner.hpp"
#include "catch.hpp"
#include "folder.hpp"

namespace fs = std::filesystem;

namespace {

/// Runs `work` in a child → its exit code.
int in_child(const std::function<int()>& work) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The same in a PID namespace of its own, where the numbers of processes begin at 1 again. → nothing where that is not
/// allowed.
std::optional<int> in_container(const std::function<int()>& work) {
    const int code = in_child([&] {
        if (::unshare(CLONE_NEWPID) != 0) return 100;
        return in_child(work);
    });
    return code == 100 ? std::nullopt : std::optional(code);
}

std::string mark_of(const dtk::Owner& owner) { return owner.host + " " + owner.word() + " 0123456789abcdef\n"; }

void pass(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

struct Seconds {
    explicit Seconds(const char* value) { ::setenv("DTK_LEASE_SECONDS", value, 1); }
    ~Seconds() { ::unsetenv("DTK_LEASE_SECONDS"); }
};

}  // namespace

TEST_CASE("a process is what its word says, and no other text is a process") {
    const auto self = dtk::Owner::self();
    const auto again = dtk::Owner::of(self.word());
    REQUIRE(again);
    CHECK(again->word() == self.word());
    CHECK(again->pid == ::getpid());
    CHECK_FALSE(again->gone());
    CHECK(self.word().size() <= 160);
    for (const auto* text : {"", "7", "7-1-2-3", "x-1-2-3-a", "-1-1-2-3-a", "99999999999-1-2-3-a", "7-1-2-3-"})
        CHECK_FALSE(dtk::Owner::of(text));
    ::setenv("DTK_HOST", "größe /\n and more than sixty-four characters, which nobody's machine is called", 1);
    const auto odd = dtk::Owner::self().word();
    ::unsetenv("DTK_HOST");
    CHECK(odd.size() <= 160);
    CHECK(odd.find_first_of("/ \n") == odd.npos);
    CHECK(dtk::Owner::of(odd)->word() == odd);
}

TEST_CASE("only what can be seen from here is certainly gone") {
    dtk::Owner child = dtk::Owner::self();
    child.pid = ::fork();
    if (child.pid == 0) ::_exit(0);
    ::waitpid(child.pid, nullptr, 0);
    CHECK(child.gone());
    auto elsewhere = child;
    elsewhere.host = "another";
    CHECK_FALSE(elsewhere.gone());
    elsewhere = child;
    elsewhere.namespace_ = "1";
    CHECK_FALSE(elsewhere.gone());
    elsewhere = child;
    elsewhere.boot = std::string(32, '0');
    CHECK_FALSE(elsewhere.gone());
    elsewhere.boot.clear();
    CHECK_FALSE(elsewhere.gone());
    // This number is in use, but by a process that began at another time.
    auto reused = dtk::Owner::self();
    reused.start = "1";
    CHECK(reused.gone());
}

TEST_CASE("one process has a lease, until it lets go or has ended") {
    const Folder folder;
    const auto file = folder / "run.lease";
    {
        const auto mine = dtk::Lease::take(file);
        REQUIRE(mine);
        CHECK(dtk::Lease::held(file));
        CHECK(dtk::Lease::holder(file) == dtk::Owner::self().text());
        CHECK_FALSE(dtk::Lease::take(file));
        CHECK(in_child([&] { return dtk::Lease::take(file) ? 1 : 0; }) == 0);
        CHECK(mine->touch());
        fs::remove(file);
        CHECK(mine->touch());  // put back
        CHECK(dtk::Lease::held(file));
    }
    CHECK_FALSE(fs::exists(file));
    in_child([&] {
        static auto kept = dtk::Lease::take(file);
        return 0;  // without letting go, as a killed one does
    });
    CHECK(fs::exists(file));
    CHECK_FALSE(dtk::Lease::held(file));
    CHECK(dtk::Lease::take(file));
}

TEST_CASE("a live owner in another PID namespace keeps its lease, seen from either side") {
    const Folder folder;
    const auto file = folder / "run.lease";
    const auto mine = dtk::Lease::take(file);
    REQUIRE(mine);
    const auto there = in_container([&] { return dtk::Lease::take(file) || !dtk::Lease::held(file) ? 1 : 0; });
    if (!there) {
        WARN("a PID namespace cannot be made here");
        return;
    }
    CHECK(*there == 0);
    CHECK(mine->touch());
    // The other way round: what is taken there by process 1, and then not let go.
    const auto other = folder / "other.lease";
    CHECK(in_container([&] {
              static auto kept = dtk::Lease::take(other);
              return kept ? 0 : 1;
          }) == 0);
    CHECK(dtk::Lease::held(other));
    CHECK_FALSE(dtk::Lease::take(other));
    const Seconds short_lived("0.2");
    pass(0.5);
    CHECK(dtk::Lease::take(other));
}

TEST_CASE("of an owner that cannot be seen from here the age counts") {
    const Folder folder;
    const auto file = folder / "run.lease";
    auto owner = dtk::Owner::self();
    owner.host = "another";
    for (const auto& mark : {mark_of(owner), std::string("torn"), std::string()}) {
        dtk::write_atomically(file, mark);
        CHECK(dtk::Lease::held(file));
        CHECK_FALSE(dtk::Lease::take(file));
        const Seconds short_lived("0.1");
        pass(0.3);
        CHECK_FALSE(dtk::Lease::held(file));
        CHECK(dtk::Lease::take(file));
    }
}

TEST_CASE("of many who find a lease stale at once one gets it") {
    const Folder folder;
    auto owner = dtk::Owner::self();
    owner.start = "1";
    for (int round = 0; round < 20; ++round) {
        const auto file = folder / ("run" + std::to_string(round));
        dtk::write_atomically(file, mark_of(owner));
        std::vector<pid_t> children;
        for (int i = 0; i < 6; ++i) {
            const pid_t child = ::fork();
            if (child == 0) {
                const auto lease = dtk::Lease::take(file);
                if (lease) pass(0.05);
                ::_exit(lease ? 1 : 0);
            }
            children.push_back(child);
        }
        int winners = 0;
        for (const auto child : children) {
            int status = 0;
            ::waitpid(child, &status, 0);
            winners += WEXITSTATUS(status);
        }
        // Whoever comes when the winner has ended, which has not let go, may take it over in its turn.
        CHECK(winners >= 1);
        CHECK(dtk::read_file(file).find(owner.word()) == std::string::npos);
    }
}

TEST_CASE("a kept lease is touched as long as it is kept") {
    const Seconds short_lived("0.3");
    const Folder folder;
    const auto file = folder / "run.lease";
    {
        const dtk::KeptLease kept(*dtk::Lease::take(file));
        for (int i = 0; i < 8; ++i) {
            pass(0.1);
            CHECK(dtk::seconds_since_written(file) < 0.2);
        }
    }
    CHECK_FALSE(fs::exists(file));
}

TEST_CASE("who finds its lease taken over ends at once") {
    const Folder folder;
    const auto file = folder / "run.lease";
    auto owner = dtk::Owner::self();
    owner.host = "another";
    const int code = in_child([&] {
        const Seconds short_lived("0.12");
        ::dup2(::open("/dev/null", O_WRONLY), STDERR_FILENO);
        const dtk::KeptLease kept(*dtk::Lease::take(file));
        dtk::write_atomically(file, mark_of(owner));
        pass(10);
        return 0;
    });
    CHECK(code == 1);
    CHECK(dtk::read_file(file) == mark_of(owner));
}

TEST_CASE("temporary files of live writers stay, of whichever host; those of the dead and the very old are removed") {
    const Folder folder;
    const auto live = dtk::temporary_beside(folder / "a");
    dtk::write_atomically(folder / "a", "x");
    const auto named = [&](const dtk::Owner& owner) {
        const auto path = folder / (".dtk-00000000.1-" + owner.word() + ".tmp");
        dtk::write_atomically(path, "x");
        return path;
    };
    dtk::write_atomically(live, "x");
    auto elsewhere = dtk::Owner::self(), dead = elsewhere;
    elsewhere.host = "another";
    dead.start = "1";
    const auto far = named(elsewhere), gone = named(dead);
    dtk::write_atomically(folder / ".dtk-12-3.tmp", "of an older dtk");
    CHECK(dtk::temporary_beside(folder / "a") != dtk::temporary_beside(folder / "a"));
    dtk::remove_temporaries(folder.path);
    CHECK(fs::exists(live));
    CHECK(fs::exists(far));
    CHECK_FALSE(fs::exists(gone));
    CHECK(fs::exists(folder / ".dtk-12-3.tmp"));
    const timespec past[2] = {{1, 0}, {1, 0}};
    for (const auto& path : {far, folder / ".dtk-12-3.tmp", folder / "a"}) ::utimensat(AT_FDCWD, path.c_str(), past, 0);
    dtk::remove_temporaries(folder.path);
    CHECK_FALSE(fs::exists(far));
    CHECK_FALSE(fs::exists(folder / ".dtk-12-3.tmp"));
    CHECK(fs::exists(folder / "a"));
}
