#pragma once
#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

/// A folder of its own for one test, gone when the test is over.
struct Folder {
    std::filesystem::path path;

    Folder() {
        auto pattern = (std::filesystem::temp_directory_path() / "dtk-test-XXXXXX").string();
        if (!::mkdtemp(pattern.data())) throw std::runtime_error("no folder for a test: " + pattern);
        path = pattern;
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::filesystem::path operator/(const std::filesystem::path& name) const { return path / name; }
};
