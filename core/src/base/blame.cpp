#include "base/blame.hpp"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include <dtk/error.hpp>

#include "base/child.hpp"
#include "base/engine.hpp"

namespace dtk {

namespace {

constexpr std::array fatal{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
constexpr std::size_t deepest_word = 16, longest = 512, most_files = 256;

struct Word {
    char whose[longest], doing[longest], file[longest];
};

/// Lies in memory that a parent shares, and is read by handlers of signals: nothing in it is ever allocated or freed.
struct Stack {
    Word words[deepest_word];
    volatile sig_atomic_t depth = 0;
    volatile sig_atomic_t has_spoken = 0;  ///< what there was to say has been said, and the exit code is right
    double seconds = 0;                    ///< that one plugin may have the word; 0: as long as it likes
};

/// Every plugin that ever had the word: what their objects do later is their fault, too.
struct Known {
    Word words[most_files];
    std::size_t count = 0;
};

Stack* new_stack(int sharing) {
    void* pages = ::mmap(nullptr, sizeof(Stack), PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    return new (pages) Stack;
}

Stack*& current_stack() {
    static auto* stack = new_stack(MAP_SHARED);
    return stack;
}

Stack& stack() { return *current_stack(); }

Known& known() {
    static auto& all = *new Known;
    return all;
}

void copy(char (&to)[longest], const std::string& text) { std::snprintf(to, longest, "%s", text.c_str()); }

void say(const char* text) {
    for (auto left = std::strlen(text); left > 0;) {
        const auto written = ::write(STDERR_FILENO, text, left);
        if (written <= 0) return;
        text += written, left -= static_cast<std::size_t>(written);
    }
}

/// The plugin whose code runs: the first frame that lies in a plugin's file. Null where none does.
const Word* on_the_stack() {
    void* frames[128];
    const int count = ::backtrace(frames, 128);
    for (int i = 0; i < count; ++i) {
        Dl_info object{};
        if (::dladdr(frames[i], &object) == 0 || !object.dli_fname) continue;
        for (std::size_t k = 0; k < known().count; ++k)
            if (std::strcmp(known().words[k].file, object.dli_fname) == 0) return &known().words[k];
    }
    return nullptr;
}

const Word& innermost() { return stack().words[std::min<std::size_t>(stack().depth, deepest_word) - 1]; }

/// Says whose fault it is, without allocating.
void accuse(const Word& word, const char* what) {
    stack().has_spoken = 1;
    for (const char* part :
         {"error: ", word.whose, " ", what, " ", innermost().doing, "\n  = help: the fault is in ", word.file, "\n"})
        say(part);
}

const Word& guilty() {
    const auto* word = on_the_stack();
    return word ? *word : innermost();
}

void on_fatal(int number) {
    if (stack().depth > 0 && !stack().has_spoken) {
        char what[longest];
        std::snprintf(what, sizeof what, "crashes (signal %d, %s)", number, ::strsignal(number));
        accuse(guilty(), what);
        ::_exit(plugin_fault);
    }
    ::signal(number, SIG_DFL);
    ::raise(number);
}

void on_alarm(int) {
    if (stack().depth == 0 || stack().has_spoken) return;
    char what[longest];
    std::snprintf(what, sizeof what, "is not done in %.0f seconds ($DTK_PLUGIN_SECONDS)", stack().seconds);
    accuse(guilty(), what);
    ::_exit(plugin_fault);
}

void on_exit() {
    if (stack().depth == 0 || stack().has_spoken) return;
    accuse(guilty(), "ends the program");
    ::_exit(plugin_fault);
}

void handle(int number, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    ::sigaction(number, &action, nullptr);
}

/// Once, before the first plugin has the word.
bool prepare() {
    // A stack that overflowed is none to run a handler on.
    static std::array<char, 1 << 16> other_stack;
    const stack_t spare{other_stack.data(), 0, other_stack.size()};
    ::sigaltstack(&spare, nullptr);
    for (const int number : fatal) handle(number, on_fatal);
    handle(SIGALRM, on_alarm);
    std::atexit(on_exit);
    std::at_quick_exit(on_exit);
    void* frame;
    ::backtrace(&frame, 1);  // loads the unwinder, which a handler cannot
    return true;
}

/// Starts the time of whoever has the word now anew.
void set_alarm() {
    const auto& all = stack();
    double seconds = all.depth > 0 ? all.seconds : 0;
    if (seconds > 0 && std::strncmp(innermost().whose, "dataset ", 8) == 0) seconds *= 10;
    const auto whole = std::floor(seconds);
    const itimerval timer{{0, 0}, {static_cast<time_t>(whole), static_cast<suseconds_t>(1e6 * (seconds - whole))}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace

Blame::Blame(const std::string& whose, const std::string& doing, const std::filesystem::path& file) {
    static const bool prepared = prepare();
    (void)prepared;
    auto& all = stack();
    auto& word = all.words[std::min<std::size_t>(all.depth, deepest_word - 1)];
    copy(word.whose, whose), copy(word.doing, doing), copy(word.file, file.string());
    auto& files = known();
    const bool is_new = std::none_of(files.words, files.words + files.count,
                                     [&](const Word& one) { return std::strcmp(one.file, word.file) == 0; });
    if (is_new && files.count < most_files) files.words[files.count++] = word;
    all.depth = all.depth + 1;
    if (all.seconds > 0) set_alarm();
}

Blame::~Blame() {
    auto& all = stack();
    all.depth = all.depth - 1;
    if (all.seconds > 0) set_alarm();
}

void begin_blame() { current_stack() = new_stack(MAP_SHARED); }

void forget_blame() {
    current_stack() = new_stack(MAP_PRIVATE);
    for (const int number : fatal) ::signal(number, SIG_DFL);
}

double plugin_seconds() {
    const char* said = std::getenv("DTK_PLUGIN_SECONDS");
    const double seconds = said ? std::atof(said) : 0;
    return seconds > 0 ? seconds : 60;
}

int with_blame(const std::function<int()>& work) {
    auto& all = stack();
    std::fflush(nullptr);
    const auto parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) throw Error("cannot start a process to look at plugins");
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(failed);
        all.seconds = plugin_seconds();
        const int code = work();
        std::fflush(nullptr);
        all.has_spoken = 1;
        ::_exit(code);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && all.has_spoken) return WEXITSTATUS(status);
    if (all.depth > 0 && !(WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))) {
        accuse(innermost(), "ends the program");
        return plugin_fault;
    }
    // It is this program as much as that one that was interrupted, or has crashed.
    if (WIFSIGNALED(status)) {
        ::signal(WTERMSIG(status), SIG_DFL);
        ::raise(WTERMSIG(status));
    }
    return failed;
}

}  // namespace dtk
