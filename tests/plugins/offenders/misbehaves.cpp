// Does wrong when it is built, or already when it is described, in the way that the environment says.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include <dtk/schedule.hpp>

namespace {

int overflow(volatile int depth) { return overflow(depth + 1) + depth; }

void misbehave(const char* when) {
    const char* said = std::getenv("DTK_TEST_MISBEHAVE");
    const std::string all = said ? said : "", how = all.substr(all.find(' ') + 1);
    if (!all.starts_with(when)) return;
    if (how == "segfault") *static_cast<volatile int*>(nullptr) = 1;
    if (how == "overflow") overflow(0);
    if (how == "divide") ::raise(SIGFPE);
    if (how == "abort") std::abort();
    if (how == "noexcept") []() noexcept { throw std::runtime_error("out of nowhere"); }();
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
