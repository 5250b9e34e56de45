// How a task of a study is worked on: by a child of this process, or by a program of its own.
#include "study/worker.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "base/child.hpp"
#include "base/words.hpp"
#include "study/memory.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// As it is typed.
std::vector<std::string> words_of(const Job& job, const std::string& program) {
    std::vector<std::string> words{program};
    const auto add = [&](std::initializer_list<std::string> more) { words.insert(words.end(), more); };
    if (const auto* run = std::get_if<RunRequest>(&job)) {
        add({"run", run->file.string()});
        run->resume ? add({"--resume=" + *run->resume}) : add({"--out", run->out->string()});
    } else {
        const auto& sample = std::get<SampleRequest>(job);
        add({"sample", sample.run.string(), "--out", sample.out->string()});
    }
    const auto& overrides = std::visit([](const auto& request) -> const Overrides& { return request.overrides; }, job);
    for (const auto& word : overrides.words()) words.push_back(word);
    add({"--progress", "none"});
    return words;
}

/// The same in this process, a child of the one that looked at the study. → exit code
int done_here(Engine& engine, const Job& job) try {
    std::signal(SIGPIPE, SIG_IGN);
    begin_progress();
    begin_blame();
    return std::holds_alternative<RunRequest>(job) ? engine.run(std::get<RunRequest>(job))
                                                   : engine.sample(std::get<SampleRequest>(job));
} catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", harmless(error.what()));
    if (!error.help().empty()) fmt::print(stderr, "  = help: {}\n", harmless(error.help()));
    return mistaken;
} catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", harmless(error.what()));
    return failed;
}

/// Is the caller all there is of this process? Threads do not go with a fork, and what they hold stays held.
bool is_alone() {
    std::error_code error;
    std::size_t threads = 0;
    for (fs::directory_iterator one("/proc/self/task", error), end; !error && one != end; one.increment(error))
        ++threads;
    return threads == 1;
}

}  // namespace

Worker::Worker(const Task& task, Lease lease, const Job& job, const std::string& program, Engine* engine,
               const fs::path& log, std::string gpu)
    : task(&task), gpu(std::move(gpu)), lease_(std::move(lease)) {
    if (!this->gpu.empty()) ::setenv("CUDA_VISIBLE_DEVICES", this->gpu.c_str(), 1);
    auto command = words_of(job, program);
    std::vector<char*> arguments;
    for (auto& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const bool here = engine && is_alone();
    std::fflush(nullptr);  // or a child would write it again
    const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666),
              nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const auto parent = ::getpid();
    child_ = ::fork();
    if (child_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody is left who would hold its lease
        if (::getppid() != parent) ::_exit(127);
        ::setpgid(0, 0);  // an interrupt from the keyboard reaches it by its parent, once
        ::dup2(nothing, 0), ::dup2(output, 1), ::dup2(output, 2);
        if (here) {
            // As a program that begins: a signal that comes before it can save ends it.
            for (const int number : {SIGINT, SIGTERM, SIGUSR1}) std::signal(number, SIG_DFL);
            const int code = done_here(*engine, job);
            std::fflush(nullptr);
            ::_exit(code);  // what the parent has is the parent's to end
        }
        ::execv(arguments[0], arguments.data());
        ::_exit(127);
    }
    if (output >= 0) ::close(output);
    if (nothing >= 0) ::close(nothing);
    if (child_ < 0) throw Error(fmt::format("cannot start {}: {}", command[0], std::strerror(errno)));
}

Worker::~Worker() {
    if (child_ > 0) ::kill(child_, SIGKILL), ::waitpid(child_, nullptr, 0);
}

bool Worker::ended() {
    if (child_ == 0) return true;
    rusage used{};
    if (::wait4(child_, &status_, WNOHANG, &used) == child_) {
        child_ = 0;
        most_ = static_cast<std::uint64_t>(used.ru_maxrss) * 1024;
    }
    return child_ == 0;
}

std::uint64_t Worker::memory() const { return child_ > 0 ? memory_held(child_) : most_; }

std::string Worker::ending() const {
    if (!WIFSIGNALED(status_)) return fmt::format("exit code {} without a word", WEXITSTATUS(status_));
    return fmt::format("signal {} ended it{}", WTERMSIG(status_),
                       WTERMSIG(status_) == SIGKILL ? ", as the system does when memory runs out" : "");
}

void Worker::interrupt() const {
    if (child_ > 0) ::kill(child_, SIGINT);
}

void Worker::keep() {
    if (lease_.touch() || child_ == 0) return;
    lost_ = true;
    ::kill(child_, SIGKILL);
}

}  // namespace dtk
