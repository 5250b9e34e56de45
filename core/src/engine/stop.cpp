#include "engine/stop.hpp"

#include <atomic>
#include <csignal>

namespace dtk {

namespace {
std::atomic<int> signals_seen{0};

void on_signal(int number) {
    if (signals_seen.fetch_add(1) == 0) return;
    std::signal(number, SIG_DFL);
    std::raise(number);
}
}  // namespace

void watch_signals() {
    signals_seen = 0;
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
}

bool stop_asked() { return signals_seen.load() > 0; }

}  // namespace dtk
