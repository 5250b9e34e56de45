// Whatever a plugin does while it is described, built or first asked, the program says whose it was and ends with 3.
#include "catch.hpp"
#include "run_program.hpp"

namespace {

namespace fs = std::filesystem;

const fs::path plugins = fs::path(DTK_OFFENDERS) / "misbehaves";

const std::string experiment =
    "seed = 1\nthreads = 1\n[dataset]\nuse = \"gaussian_mixture\"\n[process]\nsteps = 50\n[model]\nuse = \"exact\"\n"
    "[sampler]\nuse = \"ddim\"\nsteps = 5\n[sample]\nn = 4\n[schedule]\nuse = \"misbehaves\"\n";

Outcome with(const Folder& folder, std::vector<std::string> command, const std::string& how) {
    write(folder / "experiment.toml", experiment);
    command.insert(command.end(), {"--plugin-path", plugins.string()});
    return dtk_program(command, folder.path, {{"DTK_TEST_MISBEHAVE", how}, {"DTK_PLUGIN_SECONDS", "1"}});
}

void blamed(const Outcome& outcome, const std::string& phrase) {
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 3);
    CHECK(outcome.signal == 0);
    CHECK(says(outcome.err, "schedule plugin `misbehaves`"));
    CHECK(says(outcome.err, phrase));
    CHECK(says(outcome.err, "misbehaves.so"));
    CHECK_FALSE(says(outcome.out, "is in order"));
}

const std::vector<std::pair<std::string, std::string>> ends{
    {"segfault", "crashes (signal 11"}, {"overflow", "crashes (signal 11"}, {"divide", "crashes (signal 8"},
    {"abort", "crashes (signal 6"},     {"terminate", "crashes (signal 6"}, {"exit", "ends the program"},
    {"quick_exit", "ends the program"}, {"thread", "ends the program"}};

}  // namespace

TEST_CASE("a plugin that behaves is in order") {
    const Folder folder;
    const auto outcome = with(folder, {"check", "experiment.toml"}, "");
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(says(outcome.out, "is in order"));
}

TEST_CASE("check says whose plugin crashed, ended the program, threw or was never done, and ends with 3") {
    const Folder folder;
    for (const auto* when : {"built", "described"}) {
        for (const auto& [how, phrase] : ends)
            blamed(with(folder, {"check", "experiment.toml"}, std::string(when) + " " + how), phrase);
        blamed(with(folder, {"check", "experiment.toml"}, std::string(when) + " _exit"), "ends the program");
        for (const auto* how : {"loop", "sleep"})
            blamed(with(folder, {"check", "experiment.toml"}, std::string(when) + " " + how),
                   "is not done in 1 seconds");
        blamed(with(folder, {"check", "experiment.toml"}, std::string(when) + " throw"), "index 7");
        blamed(with(folder, {"check", "experiment.toml"}, std::string(when) + " number"), "no exception");
    }
}

TEST_CASE("a plugin that fails inside another's constructor is the one that is named") {
    const Folder folder;
    for (const auto* how : {"segfault", "overflow", "abort", "exit", "loop"}) {
        const auto outcome = with(folder, {"check", "experiment.toml"}, std::string("asked ") + how);
        INFO(how);
        blamed(outcome, "the fault is in");
    }
}

TEST_CASE("run says it as check does, and what describes a plugin, too") {
    const Folder folder;
    for (const auto& [how, phrase] : ends) {
        blamed(with(folder, {"run", "experiment.toml", "--out", "out"}, "built " + how), phrase);
        CHECK_FALSE(fs::exists(folder / "out"));
        blamed(with(folder, {"plugins", "describe", "misbehaves"}, "described " + how), phrase);
    }
}
