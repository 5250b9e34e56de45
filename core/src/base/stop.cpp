#include "base/stop.hpp"

#include <atomic>
#include <csignal>

#include <fmt/format.h>

#include "base/engine.hpp"

namespace dtk {

namespace {
std::atomic<int> seen{0};    // the first signal that came; 0: none
std::atomic<int> shared{0};  // the one that came to another process of the run

void on_signal(int number) {
    int none = 0;
    if (seen.compare_exchange_strong(none, number)) return;
    std::signal(number, SIG_DFL);
    std::raise(number);
}
}  // namespace

void watch_signals() {
    seen = shared = 0;
    for (const int number : {SIGINT, SIGTERM, SIGUSR1}) std::signal(number, on_signal);
    if (std::signal(SIGHUP, on_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

bool stop_asked() { return stop_signal() != 0; }

int stop_signal() { return seen.load() != 0 ? seen.load() : shared.load(); }

void stop_with(int signal) {
    int none = 0;
    shared.compare_exchange_strong(none, signal);
}

void end_if_asked(std::string_view doing) {
    if (stop_asked()) throw Interrupted(fmt::format("stopped {}", doing));
}

int stop_code() { return stop_signal() == 0 || stop_signal() == SIGINT ? interrupted : taken_back; }

}  // namespace dtk
