// Laws of every kind: each plugin of the build keeps them, and of the plugins that are wrong on purpose each breaks the
// one that it names.
#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "run_program.hpp"

namespace {

/// What `dtk plugins check` says of a folder of plugins.
nlohmann::json checked(const std::string& folder) {
    const auto run = run_program({"plugins", "check", folder, "--json"});
    INFO(run.err);
    REQUIRE((run.code == 0 || run.code == 3));
    return nlohmann::json::parse(run.out);
}

std::map<std::string, std::string> broken_laws(const nlohmann::json& plugin) {
    std::map<std::string, std::string> broken;
    for (const auto& law : plugin["laws"])
        if (law["outcome"] == "broken") broken[law["law"]] = law["figures"];
    return broken;
}

}  // namespace
