#pragma once
// Runs a program as a person would, in a folder of its own, and keeps what it said and how it ended.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "complaint.hpp"
#include "folder.hpp"

struct Outcome {
    int code = -1;    ///< exit code; −1 where a signal ended it
    int signal = 0;   ///< that signal
    std::string out;  ///< standard output
    std::string err;  ///< standard error
};

/// A program that runs. What it writes goes to nameless files, so that no pipe fills up.
class Running {
 public:
    using Environment = std::map<std::string, std::string>;

    Running(std::vector<std::string> command, const std::filesystem::path& folder, const Environment& environment = {})
        : out_(std::tmpfile()), err_(std::tmpfile()) {
        std::vector<char*> arguments;
        for (auto& word : command) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        child_ = ::fork();
        if (child_ < 0) throw std::runtime_error("cannot start " + command[0]);
        if (child_ > 0) return;
        for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
        ::dup2(::open("/dev/null", O_RDONLY), 0);
        ::dup2(::fileno(out_), 1);
        ::dup2(::fileno(err_), 2);
        if (::chdir(folder.c_str()) == 0) ::execvp(arguments[0], arguments.data());
        ::_exit(127);
    }
    Running(Running&& other) noexcept : child_(std::exchange(other.child_, 0)), out_(other.out_), err_(other.err_) {
        other.out_ = other.err_ = nullptr;
    }
    ~Running() {
        if (child_ > 0) ::kill(child_, SIGKILL), ::waitpid(child_, nullptr, 0);
        if (out_) std::fclose(out_);
        if (err_) std::fclose(err_);
    }

    /// To the program itself, where it still runs: process 0 would be everybody in this test's own group.
    void send(int signal) const {
        if (child_ > 0) ::kill(child_, signal);
    }

    pid_t pid() const { return child_; }

    bool ended() {
        if (child_ > 0 && ::waitpid(child_, &status_, WNOHANG) == child_) child_ = 0;
        return child_ == 0;
    }

    /// Waits for its end; a program that takes longer is killed.
    Outcome wait(std::chrono::seconds limit = std::chrono::seconds(120)) {
        const auto late = std::chrono::steady_clock::now() + limit;
        while (!ended()) {
            if (std::chrono::steady_clock::now() > late) throw std::runtime_error("a program did not end in time");
            std::this_thread::sleep_for(std::chrono::milliseconds(3));
        }
        return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -1, WIFSIGNALED(status_) ? WTERMSIG(status_) : 0,
                text(out_), text(err_)};
    }

 private:
    static std::string text(std::FILE* file) {
        std::string all;
        std::rewind(file);
        char buffer[4096];
        for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) all.append(buffer, n);
        return all;
    }
    pid_t child_ = 0;
    int status_ = 0;
    std::FILE *out_, *err_;
};

/// Neither this user's plugins nor this user's cache: what dtk keeps lies in a folder that goes with the tests.
inline Running::Environment own_environment() {
    static const Folder home;
    return {{"XDG_CACHE_HOME", (home / "cache").string()},
            {"XDG_DATA_HOME", (home / "data").string()},
            {"DTK_PLUGIN_PATH", ""}};
}

inline Running start_dtk(std::vector<std::string> arguments, const std::filesystem::path& folder,
                         Running::Environment more = {}) {
    arguments.insert(arguments.begin(), DTK_PROGRAM);
    auto environment = own_environment();
    for (auto& [name, value] : more) environment[name] = value;
    return Running(std::move(arguments), folder, environment);
}

inline Outcome dtk_program(std::vector<std::string> arguments, const std::filesystem::path& folder,
                           Running::Environment more = {}) {
    return start_dtk(std::move(arguments), folder, std::move(more)).wait();
}

inline void write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
}

/// Errors: std::runtime_error where there is no such file.
inline std::string read(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw std::runtime_error("there is no " + file.string());
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The text with `to` in the place of `from`, which must be in it.
inline std::string changed(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    if (at == text.npos) throw std::runtime_error("`" + from + "` is not in the text");
    return text.replace(at, from.size(), to);
}
