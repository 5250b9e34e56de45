// Does wrong when it is built, or already when it is described, in the way that the environment says.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include <dtk/schedule.hpp>

namespace {

int overflow(int depth) {
    volatile int here[256];
    here[depth % 256] = depth;
    return depth < 0 ? here[0] : overflow(depth + 1) + here[depth % 256];
}

void misbehave(const char* when) {
    const char* said = std::getenv("DTK_TEST_MISBEHAVE");
    const std::string all = said ? said : "", how = all.substr(all.find(' ') + 1);
    if (!all.starts_with(when)) return;
    volatile int* volatile nowhere = nullptr;
    if (how == "segfault") *nowhere = 1;
    if (how == "overflow") overflow(0);
    if (how == "divide") ::raise(SIGFPE);
    if (how == "abort") std::abort();
    if (how == "terminate") std::terminate();
    if (how == "exit") std::exit(0);
    if (how == "quick_exit") std::quick_exit(0);
    if (how == "_exit") ::_exit(0);
    if (how == "thread") std::thread([] { std::exit(0); }).join();
    if (how == "loop")
        for (volatile int i = 0;;) i = i + 1;
    if (how == "sleep")
        for (;;) ::pause();
    if (how == "throw") throw std::out_of_range("index 7");
    if (how == "number") throw 7;
}

struct Misbehaves final : dtk::BetaSchedule {
    struct Config {
        double rate = 1;
        void fields(dtk::Fields& f) {
            misbehave("described");
            f("rate", rate, dtk::above(0), "nothing");
        }
    };
    explicit Misbehaves(const Config&) { misbehave("built"); }
    std::vector<double> betas(std::int64_t steps) const override {
        misbehave("asked");
        return std::vector<double>(steps, 0.01);
    }
};
}  // namespace

DTK_PLUGIN(Schedule, misbehaves, Misbehaves, "does what it must not")
