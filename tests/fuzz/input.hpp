#pragma once
// What the harnesses share: an input as a file that lies in memory, and readers that may refuse it in words alone.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <dtk/error.hpp>

namespace fuzz {

/// The bytes as a file of that name.
class InputFile {
 public:
    InputFile(const std::uint8_t* data, std::size_t size) : file_(::memfd_create("input", MFD_CLOEXEC)) {
        if (file_ < 0 || ::write(file_, data, size) != static_cast<ssize_t>(size)) std::abort();
    }
    ~InputFile() { ::close(file_); }
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;
    std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
    int file_;
};

/// Reads. A refusal must say something; any other exception is a fault that the fuzzer reports.
template <class Read>
void read_or_refuse(Read read) {
    try {
        read();
    } catch (const dtk::Error& refusal) {
        if (std::string(refusal.what()).empty()) std::abort();
    }
}

/// A law that must hold of whatever was accepted.
inline void must(bool holds) {
    if (!holds) std::abort();
}

}  // namespace fuzz
