// Laws of every kind: each plugin of the build keeps them, and of the plugins that are wrong on purpose each breaks the
// one that it names.
#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "run_program.hpp"

namespace {

using json = nlohmann::json;

/// What `dtk plugins check` says of a folder of plugins, or of all there are.
json checked(const std::string& folder = {}) {
    const Folder here;
    std::vector<std::string> command{"plugins", "check", "--json"};
    if (!folder.empty()) command.insert(command.end(), {folder, "--plugin-path", folder});
    const auto run = start_dtk(command, here.path).wait(std::chrono::minutes(15));
    INFO(run.err);
    REQUIRE((run.code == 0 || run.code == 3));
    return json::parse(run.out);
}

std::map<std::string, std::string> broken_laws(const json& plugin) {
    std::map<std::string, std::string> broken;
    for (const auto& law : plugin["laws"])
        if (law["outcome"] == "broken") broken[law["law"]] = law["figures"];
    return broken;
}

}  // namespace

TEST_CASE("every plugin of the build keeps the laws of its kind") {
    std::size_t plugins = 0;
    for (const auto& plugin : checked()) {
        ++plugins;
        INFO(plugin["kind"] << " " << plugin["name"] << ": " << json(broken_laws(plugin)).dump(1));
        // One that needs a library which dtk was built without says so.
        if (says(json(broken_laws(plugin)).dump(), "dtk was built without")) continue;
        CHECK(plugin["good"] == true);
        CHECK(plugin["laws"].size() >= 3);
    }
    CHECK(plugins > 150);
}

TEST_CASE("what `dtk new` writes keeps the laws of its kind") {
    for (const auto& plugin : checked(DTK_TEMPLATES)) {
        INFO(plugin["kind"] << " " << plugin["name"] << ": " << json(broken_laws(plugin)).dump(1));
        CHECK(plugin["good"] == true);
    }
}

TEST_CASE("a plugin that is wrong is refused by the law that it breaks") {
    const Folder here;
    const auto list = dtk_program({"plugins", "list", "--plugin-path", DTK_WRONG, "--json"}, here.path);
    std::set<std::string> kinds;
    std::size_t plugins = 0;
    for (const auto& plugin : json::parse(list.out)) {
        const std::string kind = plugin["kind"], name = plugin["name"], law = plugin["summary"];
        if (!plugin["file"].get<std::string>().starts_with(DTK_WRONG)) continue;
        ++plugins;
        kinds.insert(kind);
        const auto run = dtk_program(
            {"plugins", "check", kind + "/" + name, "--law", law, "--json", "--plugin-path", DTK_WRONG}, here.path);
        INFO(kind << " " << name << ": " << run.out << run.err);
        REQUIRE(run.code == 3);
        CHECK(broken_laws(json::parse(run.out).at(0)).contains(law));
    }
    CHECK(plugins >= 60);
    CHECK(kinds.size() == 18);
}

TEST_CASE("a plugin that is never done, or takes all memory, is stopped by a limit") {
    const Folder here;
    const auto run =
        dtk_program({"plugins", "check", DTK_OFFENDERS "/endless", "--json"}, here.path, {{"DTK_PLUGIN_SECONDS", "3"}});
    CHECK(run.code == 3);
    std::map<std::string, std::string> said;
    for (const auto& plugin : json::parse(run.out)) said[plugin["name"]] = json(broken_laws(plugin)).dump();
    CHECK(says(said["endless"], "it is not done after 3 seconds"));
    CHECK(says(said["hungry"], "bad_alloc"));
}

TEST_CASE("of laws those alone are tried that have the words") {
    const Folder here;
    const auto check = [&](const std::string& words) {
        return dtk_program({"plugins", "check", "schedule/linear", "--law", words, "--json"}, here.path);
    };
    const auto one = check("asked twice");
    CHECK(one.code == 0);
    const auto laws = json::parse(one.out).at(0)["laws"];
    REQUIRE(laws.size() == 2);  // that it is built is always asked
    CHECK(says(laws[1]["law"], "asked twice"));
    const auto none = check("asked thrice");
    CHECK(none.code == 2);
    CHECK(says(none.err, "no law of a schedule has the words `asked thrice`"));
}

// What the laws of data sets try is the defaults of each.
TEST_CASE("laws of data sets hold with other fields, too") {
    const Folder here;
    const std::vector<std::vector<std::string>> all{
        {"gaussian_mixture", "labels=true"},
        {"gaussian_mixture", "preset=\"gmm1d\""},
        {"gaussian_mixture", "preset=\"ring8\""},
        {"gaussian_mixture", "preset=\"none\"", "means=[[0, 0, 1], [1, 2, 3]]", "std=[0.5]"},
        {"moons", "labels=true"},
        {"checkerboard", "squares=2", "noise=0.3"},
        {"rotation_mixture", "labels=true"}};
    for (const auto& one : all) {
        std::vector<std::string> words{"plugins", "check", "dataset/" + one[0], "--plugin-path", DTK_PLUGINS, "--json"};
        for (std::size_t i = 1; i < one.size(); ++i) words.insert(words.end(), {"--set", one[i]});
        const auto run = dtk_program(words, here.path);
        INFO(run.out << run.err);
        CHECK(run.code == 0);
        std::map<std::string, std::string> outcome;
        const json found = json::parse(run.out, nullptr, /*allow_exceptions=*/false);
        REQUIRE(found.size() == 1);
        for (const auto& law : found[0]["laws"]) outcome[law["law"]] = law["outcome"];
        // What nobody has worked out is asked of nobody.
        const auto holds = [&](const char* law) { return outcome.at(law) == "holds"; };
        CHECK(holds("the error of the denoiser is orthogonal to what it sees") == (one[0] != "rotation_mixture"));
        CHECK(holds("the variance that is left is the slope of the denoiser") ==
              (one[0] == "gaussian_mixture" || one[0] == "moons"));
        CHECK(holds("modes come as often as they weigh") == (one[0] != "checkerboard"));
    }
}
