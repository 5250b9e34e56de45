#pragma once
// Runs a program as a person would, in a folder of its own, and keeps what it said and how it ended.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
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

/// What a program has written to a nameless file.
inline std::string text(std::FILE* file) {
    std::string all;
    std::rewind(file);
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) all.append(buffer, n);
    return all;
}

inline Outcome outcome(int status, std::FILE* out, std::FILE* err) {
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0, text(out),
            text(err)};
}

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
        return outcome(status_, out_, err_);
    }

 private:
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

#ifdef DTK_WARM
/// A dtk that has LibTorch loaded and runs one command after the other, each in a process of its own: warm/warm.cpp.
class Warm {
 public:
    Warm() {
        const auto environment = own_environment();
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
            throw std::runtime_error("no socket for a program that stands ready");
        socket_ = ends[0];
        server_ = ::fork();
        if (server_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::fcntl(ends[1], F_SETFD, 0);
            for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
            ::setenv("DTK_WARM_SOCKET", std::to_string(ends[1]).c_str(), 1);
            ::setenv("LD_PRELOAD", DTK_WARM, 1);
            ::setenv("OMP_WAIT_POLICY", "PASSIVE", 0);
            ::execl(DTK_PROGRAM, DTK_PROGRAM, nullptr);
            ::_exit(127);
        }
        ::close(ends[1]);
    }
    ~Warm() { ::close(socket_), ::waitpid(server_, nullptr, 0); }
    Warm(const Warm&) = delete;
    Warm& operator=(const Warm&) = delete;

    Outcome run(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
                const Running::Environment& more) {
        const std::lock_guard one_at_a_time(mutex_);
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::tmpfile(), std::fclose),
            err(std::tmpfile(), std::fclose);
        auto words = folder.string() + '\0' + std::to_string(more.size()) + '\0';
        for (const auto& [name, value] : more) words += name + '=' + value + '\0';
        for (const auto& word : arguments) words += word + '\0';
        const std::array outputs{::fileno(out.get()), ::fileno(err.get())};
        iovec part{words.data(), words.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof outputs)> control{};
        msghdr message{};
        message.msg_iov = &part, message.msg_iovlen = 1;
        message.msg_control = control.data(), message.msg_controllen = control.size();
        auto* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof outputs);
        std::memcpy(CMSG_DATA(header), outputs.data(), sizeof outputs);
        pid_t child = 0;
        int status = 0;
        if (::sendmsg(socket_, &message, MSG_NOSIGNAL) < 0 || ::recv(socket_, &child, sizeof child, 0) <= 0)
            throw std::runtime_error("the program that stands ready has gone");
        pollfd ended{socket_, POLLIN, 0};
        const bool late = ::poll(&ended, 1, 120'000) == 0;
        if (late) ::kill(child, SIGKILL);
        ::recv(socket_, &status, sizeof status, 0);
        if (late) throw std::runtime_error("a program did not end in time");
        return outcome(status, out.get(), err.get());
    }

 private:
    std::mutex mutex_;
    int socket_;
    pid_t server_;
};
#endif

/// Runs it to its end. more: what the program itself reads; the loader's variables and OpenMP's come too late.
inline Outcome dtk_program(std::vector<std::string> arguments, const std::filesystem::path& folder,
                           Running::Environment more = {}) {
#ifdef DTK_WARM
    static Warm warm;
    return warm.run(arguments, folder, more);
#else
    return start_dtk(std::move(arguments), folder, std::move(more)).wait();
#endif
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
