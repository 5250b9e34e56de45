// Laws of every kind: each plugin of the build keeps them, and of the plugins that are wrong on purpose each breaks the
// one that it names.
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "run_program.hpp"

namespace {

using json = nlohmann::json;

/// What `dtk plugins check` says of a folder of plugins.
json checked(const std::string& folder, const std::string& path) {
    const Folder here;
    const auto run = dtk_program({"plugins", "check", folder, "--plugin-path", path, "--json"}, here.path);
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
    for (const auto& folder : std::filesystem::directory_iterator(DTK_PLUGINS)) {
        for (const auto& plugin : checked(folder.path().string(), DTK_PLUGINS)) {
            ++plugins;
            INFO(plugin["kind"] << " " << plugin["name"] << ": " << json(broken_laws(plugin)).dump(1));
            CHECK(plugin["good"] == true);
            CHECK(plugin["laws"].size() >= 3);
            CHECK(plugin["seconds"] < 10.0);
        }
    }
    CHECK(plugins > 150);
}

TEST_CASE("what `dtk new` writes keeps the laws of its kind") {
    for (const auto& plugin : checked(DTK_TEMPLATES, DTK_TEMPLATES)) {
        INFO(plugin["kind"] << " " << plugin["name"] << ": " << json(broken_laws(plugin)).dump(1));
        CHECK(plugin["good"] == true);
    }
}

TEST_CASE("a plugin that is wrong is refused by the law that it breaks") {
    std::map<std::string, std::string> summary;
    const Folder here;
    const auto list = dtk_program({"plugins", "list", "--plugin-path", DTK_WRONG, "--json"}, here.path);
    for (const auto& plugin : json::parse(list.out))
        summary[plugin["kind"].get<std::string>() + plugin["name"].get<std::string>()] = plugin["summary"];
    std::set<std::string> kinds;
    std::size_t plugins = 0;
    for (const auto& plugin : checked(DTK_WRONG, DTK_WRONG)) {
        ++plugins;
        kinds.insert(plugin["kind"]);
        const auto broken = broken_laws(plugin);
        INFO(plugin["kind"] << " " << plugin["name"] << ": " << json(broken).dump(1));
        CHECK(broken.contains(summary[plugin["kind"].get<std::string>() + plugin["name"].get<std::string>()]));
    }
    CHECK(plugins >= 60);
    CHECK(kinds.size() == 17);
}
