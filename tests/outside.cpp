// What an outside user does: installs dtk, writes one file, builds it with four lines of CMake, and uses it; with the
// guide's own examples, too.
#include "catch.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>

#include <nlohmann/json.hpp>

#include "run_program.hpp"

namespace {

void must(const std::vector<std::string>& command, const std::filesystem::path& folder) {
    const auto outcome = Running(command, folder).wait(std::chrono::seconds(200));
    INFO(command[0] << " " << command[1] << " " << command[2] << "\n" << outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
}

/// The plugins that the guide shows whole, by their names.
std::map<std::string, std::string> examples_of_the_guide() {
    std::ifstream in(DTK_SOURCE "/docs/writing-a-plugin.md");
    const std::string guide{std::istreambuf_iterator<char>(in), {}};
    std::map<std::string, std::string> plugins;
    const std::string opening = "```cpp\n", closing = "```\n";
    for (auto at = guide.find(opening); at != guide.npos; at = guide.find(opening, at)) {
        at += opening.size();
        const auto block = guide.substr(at, guide.find(closing, at) - at);
        std::smatch found;
        if (std::regex_search(block, found, std::regex(R"(DTK_PLUGIN\(\w+, (\w+),)"))) plugins[found[1]] = block;
    }
    return plugins;
}

}  // namespace

TEST_CASE("an installed dtk runs, and a schedule written outside of it is found and used") {
    const Folder folder;
    const auto prefix = (folder / "prefix").string(), program = prefix + "/bin/dtk",
               plugins = (folder / "build" / "plugins").string();
    must({"cmake", "--install", DTK_BINARY, "--prefix", prefix}, folder.path);
    const auto dtk = [&](std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), program);
        return Running(arguments, folder.path, own_environment()).wait();
    };

    const auto listed = dtk({"plugins", "list", "--json"});
    REQUIRE(listed.code == 0);
    std::size_t n = 0;
    for (const auto& plugin : nlohmann::json::parse(listed.out)) {
        INFO(plugin.dump());
        CHECK_FALSE(plugin.contains("problem"));
        CHECK(plugin["file"].get<std::string>().rfind(prefix, 0) == 0);
        ++n;
    }
    CHECK(n > 20);

    must({"cmake", "-G", "Ninja", "-S", DTK_SOURCE "/tests/outside", "-B", (folder / "build").string(),
          "-DCMAKE_PREFIX_PATH=" + prefix},
         folder.path);
    must({"cmake", "--build", (folder / "build").string()}, folder.path);
    CHECK(says(dtk({"plugins", "list", "schedule", "--plugin-path", plugins}).out, "β rises with a power of the time"));
    CHECK(says(dtk({"plugins", "describe", "my_schedule", "--plugin-path", plugins}).out, "how late the noise comes"));

    std::ofstream(folder / "experiment.toml")
        << "threads = 1\n[plugins]\npath = [\"build/plugins\"]\n[dataset]\nuse = \"moons\"\n[process]\nsteps = 50\n"
           "[schedule]\nuse = \"my_schedule\"\npower = 1\n[model]\nuse = \"exact\"\n[sampler]\nsteps = 5\n[sample]\nn "
           "= 4\n";
    const auto run = dtk({"run", "experiment.toml", "--out", "run"});
    INFO(run.err);
    CHECK(run.code == 0);
    CHECK(std::filesystem::exists(folder / "run" / "samples.safetensors"));

    // The guide's examples as they stand.
    const auto examples = examples_of_the_guide();
    REQUIRE(examples.contains("my_schedule"));
    REQUIRE(examples.contains("plain"));
    std::filesystem::create_directory(folder / "guide");
    std::ofstream cmake(folder / "guide" / "CMakeLists.txt");
    cmake << "cmake_minimum_required(VERSION 3.25)\nproject(guide CXX)\nfind_package(dtk REQUIRED)\n";
    for (const auto& [name, text] : examples) {
        INFO(name);
        CHECK(std::count(text.begin(), text.end(), '\n') <= 45);
        std::ofstream(folder / "guide" / (name + ".cpp")) << text;
        cmake << "dtk_add_plugin(" << name << " " << name << ".cpp)\n";
    }
    cmake.close();
    must({"cmake", "-G", "Ninja", "-S", (folder / "guide").string(), "-B", (folder / "built").string(),
          "-DCMAKE_PREFIX_PATH=" + prefix},
         folder.path);
    must({"cmake", "--build", (folder / "built").string()}, folder.path);
    CHECK(says(dtk({"plugins", "describe", "my_schedule", "--plugin-path", "built/plugins"}).out,
               "how fast the signal falls"));
    const auto samples = [&](const std::string& sampler) {
        const auto drawn = dtk({"run", "experiment.toml", "--plugin-path", "built/plugins", "--seed", "1", "--set",
                                "schedule.use=linear", "--set", "sampler.use=" + sampler, "--out", sampler});
        INFO(drawn.err);
        CHECK(drawn.code == 0);
        std::ifstream file(folder / sampler / "samples.safetensors", std::ios::binary);
        const std::string content{std::istreambuf_iterator<char>(file), {}};
        REQUIRE(content.size() > 32);
        return content.substr(content.size() - 32);  // four pairs of float32, after what is said of them
    };
    CHECK(samples("plain") == samples("ddim"));
}
