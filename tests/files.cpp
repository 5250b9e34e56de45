#include "base/files.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dtk/error.hpp>
#include <functional>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "complaint.hpp"
#include "folder.hpp"

namespace fs = std::filesystem;

namespace {

/// Runs `work` in a child that may write files of at most `bytes` bytes. → its exit status, as for waitpid.
int with_size_limit(rlim_t bytes, const std::function<bool()>& work) {
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit limit{bytes, bytes};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        ::_exit(work() ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}

std::size_t entries(const fs::path& folder) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a file is replaced as a whole") {
    const Folder folder;
    const auto path = folder / "note.txt";
    dtk::write_atomically(path, "old");
    dtk::write_atomically(path, [](dtk::OutputFile& file) {
        file.write("new ");
        file.write("text");
    });
    CHECK(dtk::read_file(path) == "new text");
    CHECK(entries(folder.path) == 1);
    const auto mask = ::umask(0);
    ::umask(mask);
    CHECK(fs::status(path).permissions() == fs::perms(0666 & ~mask));
}

TEST_CASE("a write that throws leaves the old file and no temporary one") {
    const Folder folder;
    const auto path = folder / "note.txt";
    dtk::write_atomically(path, "old");
    CHECK_THROWS_AS(dtk::write_atomically(path,
                                          [](dtk::OutputFile& file) {
                                              file.write("half");
                                              throw std::runtime_error("no");
                                          }),
                    std::runtime_error);
    CHECK(dtk::read_file(path) == "old");
    CHECK(entries(folder.path) == 1);
}

TEST_CASE("a file that meets its size limit is an error that names it, and the old one stays") {
    const Folder folder;
    const auto path = folder / "big.bin";
    dtk::write_atomically(path, "old");
    const int status = with_size_limit(1000, [&] {
        const auto complaint = complaint_of([&] { dtk::write_atomically(path, std::string(100'000, 'x')); });
        return says(complaint, path.string() + ": File too large") && says(complaint, "ulimit -f");
    });
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(dtk::read_file(path) == "old");
    CHECK(entries(folder.path) == 1);
}

TEST_CASE("a full disk is an error") {
    if (!fs::exists("/dev/full")) return;
    const int full = ::open("/dev/full", O_WRONLY);
    const fs::path name = "model.safetensors";
    dtk::OutputFile file(full, name);
    const auto complaint = complaint_of([&] { file.write("x"); });
    ::close(full);
    CHECK(says(complaint, "cannot write model.safetensors: No space left on device"));
    CHECK(says(complaint, "free some space"));
}

TEST_CASE("what cannot be written is named with the reason") {
    const Folder folder;
    CHECK(says(complaint_of([&] { dtk::write_atomically(folder / "no/such/a.txt", "x"); }), "there is no folder"));
    CHECK(says(complaint_of([&] { dtk::write_atomically(folder.path, "x"); }), "it is no regular file"));
    CHECK(says(complaint_of([&] { dtk::write_atomically("/dev/null", "x"); }), "it is no regular file"));
    CHECK(fs::is_character_file("/dev/null"));
    if (::geteuid() != 0) {
        fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec);
        CHECK(says(complaint_of([&] { dtk::write_atomically(folder / "a.txt", "x"); }), "Permission denied"));
        fs::permissions(folder.path, fs::perms::owner_all);
    }
}

TEST_CASE("a name of the greatest length can be written") {
    const Folder folder;
    const auto path = folder / std::string(255, 'n');
    dtk::write_atomically(path, "x");
    CHECK(dtk::read_file(path) == "x");
}

TEST_CASE("what killed writes left is removed, and nothing else") {
    const Folder folder;
    dtk::write_atomically(folder / "keep.tmp", "x");
    const pid_t child = ::fork();
    if (child == 0)
        dtk::write_atomically(folder / "lost.txt", [](dtk::OutputFile& file) {
            file.write("half");
            ::_exit(0);
        });
    ::waitpid(child, nullptr, 0);
    CHECK(entries(folder.path) == 2);
    dtk::remove_temporaries(folder.path);
    CHECK(entries(folder.path) == 1);
    CHECK(fs::exists(folder / "keep.tmp"));
}

TEST_CASE("lines are appended, and a torn last line spoils no other") {
    const Folder folder;
    const auto path = folder / "metrics.jsonl";
    dtk::append_line(path, R"({"step":1})");
    dtk::append_line(path, R"({"step":2})");
    CHECK(dtk::read_file(path) == "{\"step\":1}\n{\"step\":2}\n");
    dtk::write_atomically(path, "{\"step\":1}\n{\"st");
    dtk::append_line(path, R"({"step":2})");
    CHECK(dtk::read_file(path) == "{\"step\":1}\n{\"st\n{\"step\":2}\n");
}

TEST_CASE("a line that does not fit is taken back") {
    const Folder folder;
    const auto path = folder / "metrics.jsonl";
    dtk::append_line(path, "first");
    const int status = with_size_limit(20, [&] {
        return says(complaint_of([&] { dtk::append_line(path, std::string(100, 'x')); }), "File too large");
    });
    CHECK(status == 0);
    CHECK(dtk::read_file(path) == "first\n");
}

TEST_CASE("a file is read at any place, and never past its end") {
    const Folder folder;
    const auto path = folder / "data.bin";
    dtk::write_atomically(path, "0123456789");
    const dtk::InputFile file(path);
    CHECK(file.size() == 10);
    std::string part(4, ' ');
    file.read(6, part.data(), 4);
    CHECK(part == "6789");
    CHECK(says(complaint_of([&] { file.read(8, part.data(), 4); }), "cut short"));
    CHECK(says(complaint_of([&] { dtk::read_file(path, 9); }), "more than 9 bytes"));
    CHECK(dtk::read_file(path, 10).size() == 10);
    CHECK(says(complaint_of([&] { dtk::read_file(folder / "none"); }), "No such file"));
    CHECK(says(complaint_of([&] { dtk::read_file(folder.path); }), "Is a directory"));
    CHECK(says(complaint_of([&] { dtk::InputFile again(folder.path); }), "no regular file"));
}

TEST_CASE("SHA-256 gives the published digests") {
    // FIPS 180-2, appendix B.
    CHECK(dtk::sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(dtk::sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const Folder folder;
    dtk::write_atomically(folder / "a", std::string(1'000'000, 'a'));
    CHECK(dtk::sha256_of_file(folder / "a") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
