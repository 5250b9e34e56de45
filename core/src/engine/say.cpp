#include "engine/say.hpp"

#include <fmt/format.h>

#include <dtk/tensor.hpp>

#include "base/engine.hpp"
#include "base/stop.hpp"
#include "base/words.hpp"

namespace dtk {

void say(const std::string& line) {
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
    std::fflush(stdout);
}

void say_notes(const Experiment& experiment) {
    for (const auto& note : experiment.notes) Progress::note("note: " + harmless(note));
}

int report(const Diagnostics& mistakes) {
    fmt::print(stderr, "{}", mistakes.text());
    if (mistakes.count() > 1) fmt::print(stderr, "{} mistakes\n", mistakes.count());
    return mistakes.exit_code();
}

int guarded(const std::function<int()>& work,
            const std::function<void(const std::string& status, const std::string& error)>& record) {
    const auto ended = [&](const char* status, const std::string& message, const std::string& help, int code) {
        Progress::note(
            fmt::format("{}: {}", code == interrupted || code == taken_back ? "dtk" : "error", harmless(message)));
        if (!help.empty()) Progress::note("  = help: " + harmless(help));
        if (record) try {
                record(status, message);
            } catch (const std::exception& error) {
                Progress::note(fmt::format("error: run.json could not be written: {}", error.what()));
            }
        return code;
    };
    try {
        return work();
    } catch (const Interrupted& error) {
        return ended("interrupted", error.what(), error.help(), stop_code());
    } catch (const UserError& error) {
        return ended("failed", error.what(), error.help(), mistaken);
    } catch (const PluginError& error) {
        return ended("failed", error.what(), error.help(), plugin_fault);
    } catch (const Error& error) {
        return ended("failed", error.what(), error.help(), failed);
    } catch (const c10::Error& error) {
        return ended("failed", error.what_without_backtrace(), "", failed);
    } catch (const std::bad_alloc&) {
        return ended("failed", "memory ran out", "make the batch or the model smaller", failed);
    } catch (const std::exception& error) {
        return ended("failed", error.what(), "", failed);
    }
}

}  // namespace dtk
