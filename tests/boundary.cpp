// Plugins that are broken, built for something else, hostile to being loaded, or there twice: none may take down
// `plugins list` or an experiment that does not name it, and naming one ends with 3 and the cure.
#include "catch.hpp"

#include <chrono>
#include <fstream>
#include <iterator>
#include <vector>

#include <nlohmann/json.hpp>

#include "run_program.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

fs::path offender(const std::string& name) {
    return fs::path(DTK_BINARY) / "tests" / "offenders" / name / (name + ".so");
}

void write_experiment(const Folder& folder, const std::string& schedule) {
    write(folder / "experiment.toml",
          "threads = 1\n[dataset]\nuse = \"gaussian_mixture\"\n[process]\nsteps = 50\n[model]\nuse = "
          "\"exact\"\n[sampler]\nuse = \"ddim\"\nsteps = 5\n"
          "[sample]\nn = 4\n[schedule]\nuse = \"" +
              schedule + "\"\n");
}

Outcome check_with(const Folder& folder, const std::string& schedule, const fs::path& plugins) {
    write_experiment(folder, schedule);
    return dtk_program({"check", "experiment.toml", "--plugin-path", plugins.string()}, folder.path);
}

Outcome list(const Folder& folder, const fs::path& plugins, bool verbose = false) {
    std::vector<std::string> arguments{"plugins", "list", "--plugin-path", plugins.string()};
    if (verbose) arguments.emplace_back("-v");
    return dtk_program(arguments, folder.path);
}

/// What `plugins list --json` says of the schedule of that name.
json listed(const Folder& folder, const fs::path& plugins, const std::string& name) {
    const auto outcome = dtk_program({"plugins", "list", "--json", "--plugin-path", plugins.string()}, folder.path);
    REQUIRE(outcome.code == 0);
    for (const auto& one : json::parse(outcome.out))
        if (one["kind"] == "schedule" && one["name"] == name) return one;
    return {};
}

struct Offender {
    const char* name;
    const char* listed;                ///< why it cannot be used; empty: it is listed as any other
    std::vector<const char*> phrases;  ///< when an experiment names it
    int code = 3;
};

const std::vector<Offender> offenders{
    {"wrong_text",
     "was built for another dtk",
     {"plugin: libstdc++", "containers debug", "dtk:    libstdc++", "containers release", "build it again"}},
    {"wrong_id", "was built for another dtk", {"plugin: build id b00000000", "dtk:    libstdc++", "build it again"}},
    {"old_interface",
     "speaks another version of its interface",
     {"plugin: schedule 2.0", "dtk:    schedule 3.0", "build it again"}},
    {"newer_interface",
     "speaks another version of its interface",
     {"plugin: schedule 3.999", "dtk:    schedule 3.0", "build it again"}},
    {"wrong_default",
     "",
     {"`beta`: its default 2 is outside its own range (0, 1)",
      "`form`: its default \"round\" is none of square or even", "`twice`: it is declared twice",
      "the plugin's fault"}},
    {"missing_symbol", "cannot be loaded: undefined symbol", {"of_nowhere", "missing_symbol.so"}},
    {"crashes", "crashes while it is loaded (signal 11", {"crashes.so"}},
    {"aborts", "crashes while it is loaded (signal 6", {"aborts.so"}},
    {"exits", "ends the program while it is loaded (exit code 7)", {"exits.so"}},
    {"throws_at_load", "too early", {"throws_at_load.so"}},
    {"throws_error", "", {"these fields do not go together", "= help: change one of them", "experiment.toml:14:7"}, 2},
    {"throws_runtime_error", "", {"failed while it was built: a bug", "the fault is in", "throws_runtime_error.so"}},
    {"throws_a_number", "", {"no exception", "the fault is in", "throws_a_number.so"}},
};

}  // namespace

TEST_CASE(
    "every offender is listed with its reason beside the good, and an experiment that does not name it is in order") {
    const Folder folder;
    fs::create_directory(folder / "plugins");
    for (const auto& one : offenders)
        fs::copy_file(offender(one.name), folder / "plugins" / (std::string(one.name) + ".so"));
    fs::copy_file(offender("good"), folder / "plugins" / "good.so");
    const auto outcome = dtk_program(
        {"plugins", "list", "schedule", "--json", "--plugin-path", (folder / "plugins").string()}, folder.path);
    REQUIRE(outcome.code == 0);
    std::map<std::string, json> found;
    for (const auto& one : json::parse(outcome.out)) found[one["name"]] = one;
    CHECK(found.count("cosine") == 1);
    CHECK(found["good"]["summary"] == "nothing is wrong with it");
    for (const auto& one : offenders) {
        INFO(one.name << ": " << found[one.name].dump());
        const auto problem = found[one.name].value("problem", "");
        CHECK(problem.empty() == std::string(one.listed).empty());
        CHECK(says(problem, one.listed));
    }
    const auto text = list(folder, folder / "plugins");
    CHECK(text.code == 0);
    CHECK(says(text.out, "crashes"));
    CHECK(says(text.out, "`crashes` crashes while it is loaded"));
    CHECK(check_with(folder, "cosine", folder / "plugins").code == 0);
    CHECK(check_with(folder, "good", folder / "plugins").code == 0);
}

TEST_CASE("an experiment that names an offender ends with 3, the reason and the cure") {
    const Folder folder;
    for (const auto& one : offenders) {
        const auto outcome = check_with(folder, one.name, offender(one.name).parent_path());
        INFO(one.name << "\n" << outcome.err);
        CHECK(outcome.code == one.code);
        CHECK(outcome.signal == 0);
        for (const auto* phrase : one.phrases) {
            INFO(phrase);
            CHECK(says(outcome.err, phrase));
        }
        CHECK(says(outcome.err, "= help: "));
        CHECK(says(outcome.err, "experiment.toml:14:7"));
        if (*one.listed) {
            const auto described = dtk_program(
                {"plugins", "describe", one.name, "--plugin-path", offender(one.name).parent_path().string()},
                folder.path);
            CHECK(described.code == 3);
            CHECK(says(described.err, one.listed));
        }
    }
}

TEST_CASE("a plugin of another age, seen by its section alone, is skipped and says so when it is named") {
    const Folder folder;
    const auto plugins = offender("old_section").parent_path();
    const auto shown = list(folder, plugins, true);
    CHECK(shown.code == 0);
    CHECK(says(shown.out, "speaks plugin interface dtk1, this dtk speaks dtk2"));
    const auto named = check_with(folder, "old_section", plugins);
    INFO(named.err);
    CHECK(named.code == 3);
    CHECK(says(named.err, "speaks plugin interface dtk1"));
}

TEST_CASE("files that are no plugins are passed over, and those beside them work") {
    const Folder folder;
    const auto plugins = folder / "plugins";
    fs::create_directories(plugins / "folder.so");
    const auto good = read(offender("good"));
    write(plugins / "text.so", std::string(5000, 'x'));
    write(plugins / "empty.so", "");
    write(plugins / "tiny.so", good.substr(0, 40));
    write(plugins / "header.so", good.substr(0, 64));
    write(plugins / "half.so", good.substr(0, good.size() / 2));
    write(plugins / "tail_lost.so", good.substr(0, good.size() - 100));
    auto wild = good;  // section headers that lead out of the file
    for (std::size_t i = 0x28; i < 0x30; ++i) wild[i] = static_cast<char>(0x7f);
    write(plugins / "wild.so", wild);
    fs::copy_file(fs::path(DTK_BINARY) / "core" / "libdtk_base.so", plugins / "library.so");
    fs::create_symlink("nowhere", plugins / "dangling.so");
    fs::create_symlink(offender("bulk"), plugins / "linked.so");
    write(plugins / "good.so", good);

    const auto shown = list(folder, plugins, true);
    INFO(shown.out << shown.err);
    CHECK(shown.code == 0);
    CHECK(says(shown.out, "nothing is wrong with it"));
    CHECK(says(shown.out, "one of a thousand"));
    CHECK(says(shown.out, "library.so: holds no dtk plugin"));
    for (const std::string name : {"text", "empty", "tiny", "header", "half", "wild"}) {
        INFO(name);
        CHECK((says(shown.out, name + ".so: is not a shared library") || says(shown.out, name + ".so: is cut short")));
    }
    CHECK(says(shown.out, "dangling.so: cannot read"));
    CHECK(check_with(folder, "good", plugins).code == 0);
    CHECK(check_with(folder, "abababababababababab", plugins).code == 0);
    const auto named = check_with(folder, "half", plugins);
    CHECK(says(named.err, "half.so is cut short"));
}

TEST_CASE("every place where a plugin file may be cut off or hold other bytes leaves dtk standing") {
    const Folder folder;
    const auto plugins = folder / "plugins";
    fs::create_directories(plugins);
    const auto good = read(offender("good"));
    for (std::size_t i = 0; i < 24; ++i) {
        write(plugins / ("cut" + std::to_string(i) + ".so"), good.substr(0, good.size() * i / 24));
        auto changed = good;
        for (std::size_t k = 0; k < 64; ++k)
            changed[(i * good.size() / 24 + k) % good.size()] ^= static_cast<char>(0x5a + 7 * k);
        write(plugins / ("changed" + std::to_string(i) + ".so"), changed);
    }
    const auto shown = list(folder, plugins, true);
    INFO(shown.out << shown.err);
    CHECK(shown.code == 0);
    CHECK(says(shown.out, "cosine"));
    CHECK(check_with(folder, "cosine", plugins).code == 0);
}

TEST_CASE("a plugin without its table of symbols is listed and works") {
    const Folder folder;
    fs::create_directory(folder / "plugins");
    fs::copy_file(offender("good"), folder / "plugins" / "good.so");
    REQUIRE(Running({"strip", "-s", (folder / "plugins" / "good.so").string()}, folder.path).wait().code == 0);
    CHECK(listed(folder, folder / "plugins", "good").value("summary", "") == "nothing is wrong with it");
    CHECK(check_with(folder, "good", folder / "plugins").code == 0);
}

TEST_CASE("one name in two files of a folder is an error that names both, and only when it is used") {
    const Folder folder;
    fs::create_directory(folder / "plugins");
    fs::copy_file(offender("good"), folder / "plugins" / "one.so");
    fs::copy_file(offender("good"), folder / "plugins" / "two.so");
    const auto shown = list(folder, folder / "plugins", true);
    CHECK(shown.code == 0);
    CHECK(says(shown.out, "twice    schedule `good`"));
    CHECK(check_with(folder, "cosine", folder / "plugins").code == 0);
    const auto named = check_with(folder, "good", folder / "plugins");
    INFO(named.err);
    CHECK(named.code == 3);
    CHECK(says(named.err, "one.so"));
    CHECK(says(named.err, "two.so"));
    CHECK(says(named.err, "remove or rename one of them"));
}

TEST_CASE("across folders the first wins, and list and run say what it shadows") {
    const Folder folder;
    for (const std::string name : {"first", "second"}) {
        fs::create_directory(folder / name);
        fs::copy_file(offender("good"), folder / name / "good.so");
    }
    const auto first = (folder / "first").string(), second = (folder / "second").string();
    const auto shown =
        dtk_program({"plugins", "list", "-v", "--plugin-path", first, "--plugin-path", second}, folder.path);
    INFO(shown.out);
    CHECK(says(shown.out, "shadowed schedule `good`: " + second + "/good.so by " + first + "/good.so"));

    write_experiment(folder, "good");
    const auto run = dtk_program({"run", "experiment.toml", "--out", "out", "--plugin-path", first}, folder.path,
                                 {{"DTK_PLUGIN_PATH", second}});
    INFO(run.err);
    REQUIRE(run.code == 0);
    bool said = false;
    const auto record = json::parse(read(folder / "out" / "run.json"));
    for (const auto& plugin : record["plugins"])
        if (plugin["name"] == "good") {
            CHECK(plugin["path"] == first + "/good.so");
            said = plugin.value("shadows", json()) == json::array({second + "/good.so"});
        }
    CHECK(said);
}

TEST_CASE("a thousand plugins are listed in a moment") {
    const Folder folder;
    fs::create_directory(folder / "plugins");
    const auto original = read(offender("bulk"));
    const std::string symbol = "dtk_Schedule_abababababababababab";
    for (unsigned number = 0; number < 1000; ++number) {
        auto name = symbol;
        for (unsigned bit = 0; bit < 10; ++bit)
            if (number >> bit & 1) name.replace(name.size() - 2 * (bit + 1), 2, "bA");
        auto copy = original;
        for (auto at = copy.find(symbol); at != copy.npos; at = copy.find(symbol, at + 1))
            copy.replace(at, name.size(), name);
        write(folder / "plugins" / (std::to_string(number) + ".so"), copy);
    }
    for (const auto* time : {"first", "second"}) {
        const auto began = std::chrono::steady_clock::now();
        const auto shown = list(folder, folder / "plugins");
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        INFO(shown.err);
        REQUIRE(shown.code == 0);
        std::size_t usable = 0;
        for (auto at = shown.out.find("one of a thousand"); at != std::string::npos;
             at = shown.out.find("one of a thousand", at + 1))
            ++usable;
        CHECK(usable == 1000);
        CHECK(took.count() < 5);
        WARN("a thousand plugins, the " << time << " time: " << took.count() << " s");
    }
}

TEST_CASE("a plugin that is never done with being loaded is given up", "[slow]") {
    const Folder folder;
    const auto problem = listed(folder, offender("hangs").parent_path(), "hangs").value("problem", "");
    CHECK(says(problem, "does not finish loading in 20 seconds"));
    const auto named = check_with(folder, "hangs", offender("hangs").parent_path());
    CHECK(named.code == 3);
}
