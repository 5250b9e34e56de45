// What an outside user does: installs dtk, writes one file, builds it with four lines of CMake, and uses it.
#include "catch.hpp"

#include <fstream>

#include <nlohmann/json.hpp>

#include "run_program.hpp"

namespace {

void must(const std::vector<std::string>& command, const std::filesystem::path& folder) {
    const auto outcome = Running(command, folder).wait(std::chrono::seconds(200));
    INFO(command[0] << " " << command[1] << " " << command[2] << "\n" << outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
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
}
