// An author's first minutes: `dtk new` for every kind, `dtk plugins build`, `dtk plugins watch`.
#include "catch.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "run_program.hpp"

namespace {

std::set<std::string> kinds() {
    const auto listed = dtk_program({"plugins", "list", "--json"}, ".");
    REQUIRE(listed.code == 0);
    std::set<std::string> kinds;
    for (const auto& plugin : nlohmann::json::parse(listed.out)) kinds.insert(plugin["kind"].get<std::string>());
    return kinds;
}

}  // namespace

TEST_CASE("of every kind there is a plugin to begin from, which runs as it is written") {
    const Folder folder;
    for (const auto& kind : kinds()) {
        const auto name = "my_" + kind;
        const auto made = dtk_program({"new", kind, name}, folder.path);
        INFO(kind << "\n" << made.out << made.err);
        REQUIRE(made.code == 0);
        CHECK(says(made.out, "dtk plugins build " + name + ".cpp"));
        const auto source = read(folder / (name + ".cpp"));
        CHECK(source.starts_with("// "));
        CHECK(std::ranges::count(source, '\n') <= (kind == "process" ? 100 : 50));

        // The same file as the build compiled.
        const auto run = dtk_program({"run", name + ".toml", "--plugin-path", DTK_TEMPLATES, "--set", "plugins.path=[]",
                                      "--set", "train.steps=20", "--set", "sample.n=16", "--out", name},
                                     folder.path);
        INFO(run.err);
        CHECK(run.code == 0);
        CHECK(says(read(folder / name / "resolved.toml"), "\"" + name + "\""));
    }
    const auto project = read(folder / "CMakeLists.txt");
    for (const auto& kind : kinds()) CHECK(says(project, fmt::format("dtk_add_plugin(my_{0} my_{0}.cpp)", kind)));
}

TEST_CASE("a new plugin under another name builds and runs by two commands") {
    const Folder folder;
    REQUIRE(dtk_program({"new", "schedule", "very_late2", "--in", "mine"}, folder.path).code == 0);
    CHECK(says(read(folder / "mine" / "very_late2.cpp"), "struct VeryLate2 final : dtk::BetaSchedule"));
    CHECK_FALSE(says(read(folder / "mine" / "very_late2.cpp"), "chedule my"));
    const auto built =
        start_dtk({"plugins", "build", "mine/very_late2.cpp"}, folder.path).wait(std::chrono::seconds(300));
    INFO(built.out << built.err);
    REQUIRE(built.code == 0);
    CHECK(says(built.out, "mine/build/plugins/very_late2.so"));
    const auto checked = dtk_program({"check", "mine/very_late2.toml"}, folder.path);
    INFO(checked.err);
    CHECK(checked.code == 0);

    // A mistake in it is shown as the compiler puts it, and the plugin that was there stays.
    write(folder / "mine" / "very_late2.cpp", changed(read(folder / "mine" / "very_late2.cpp"), "c.power", "c.pover"));
    const auto broken =
        start_dtk({"plugins", "build", "mine/very_late2.cpp"}, folder.path).wait(std::chrono::seconds(300));
    CHECK(broken.code == 2);
    CHECK(says(broken.err, "very_late2.cpp:"));
    CHECK(says(broken.err, "does not build"));
    CHECK(dtk_program({"check", "mine/very_late2.toml"}, folder.path).code == 0);
}

TEST_CASE("watching builds what is saved, and runs the command") {
    const Folder folder;
    REQUIRE(dtk_program({"new", "weighting", "mine"}, folder.path).code == 0);
    auto watching = start_dtk({"plugins", "watch", "mine.cpp", "--", "touch", "ran"}, folder.path);
    const auto appears = [&] {
        for (int i = 0; i < 3000 && !std::filesystem::exists(folder / "ran"); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        return std::filesystem::remove(folder / "ran");
    };
    CHECK(appears());
    write(folder / "mine.cpp", read(folder / "mine.cpp") + "\n");
    CHECK(appears());
    CHECK(std::filesystem::exists(folder / "build" / "plugins" / "mine.so"));
    watching.send(SIGINT);
    CHECK(watching.wait().code != 0);
}

TEST_CASE("what cannot be written is refused in words, and nothing is overwritten") {
    const Folder folder;
    const auto refused = [&](std::vector<std::string> words, const std::string& phrase) {
        words.insert(words.begin(), "new");
        const auto outcome = dtk_program(words, folder.path);
        INFO(outcome.err);
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, phrase));
        CHECK(says(outcome.err, "= help: "));
    };
    refused({"samplr", "mine"}, "did you mean `sampler`?");
    refused({"sampler", "../mine"}, "cannot be the name of a plugin");
    refused({"sampler", "Mine"}, "cannot be the name of a plugin");
    refused({"sampler", "heun"}, "there is a sampler `heun` already");
    write(folder / "mine.cpp", "// precious\n");
    refused({"sampler", "mine"}, "is there already");
    CHECK(read(folder / "mine.cpp") == "// precious\n");
    // A CMake project that has nothing to do with dtk stays as it is.
    write(folder / "CMakeLists.txt", "project(other)\n");
    CHECK(dtk_program({"new", "sampler", "another"}, folder.path).code == 0);
    CHECK(read(folder / "CMakeLists.txt") == "project(other)\n");
    const auto missing = dtk_program({"plugins", "build", "nowhere.cpp"}, folder.path);
    CHECK(missing.code == 2);
    CHECK(says(missing.err, "there is no file nowhere.cpp"));
}

TEST_CASE("the reference holds every plugin with every field, in each form, and the one in docs/ is of this build") {
    const Folder folder;
    const auto described = nlohmann::json::parse(dtk_program({"plugins", "describe", "--json"}, ".").out);
    CHECK(described.size() > 150);
    for (const std::string format : {"md", "man"})
        REQUIRE(dtk_program({"plugins", "describe", "--format", format, "--out", format}, folder.path).code == 0);
    for (const auto& plugin : described) {
        const auto kind = plugin["kind"].get<std::string>(), name = plugin["name"].get<std::string>();
        INFO(kind << " " << name);
        CHECK(plugin["about"].get<std::string>().size() > 4);  // what its source begins with
        const auto markdown = read(folder / "md" / (kind + ".md"));
        const auto begin = markdown.find("## " + name + "\n");
        REQUIRE(begin != markdown.npos);
        const auto section = markdown.substr(begin, markdown.find("\n## ", begin) - begin);
        const auto man = read(folder / "man" / ("dtk-" + kind + "-" + name + ".7"));
        CHECK(says(section, plugin["about"].get<std::string>()));
        CHECK(says(read(folder / "md" / "README.md"), "[" + name + "](" + kind + ".md#" + name + ")"));
        for (const auto& field : plugin["fields"]) {
            CHECK(says(section, "| `" + field["key"].get<std::string>() + "` |"));
            CHECK(says(man, ".B " + field["key"].get<std::string>() + "\n"));
        }
    }
    for (const auto& page : std::filesystem::directory_iterator(folder / "md")) {
        INFO("dtk plugins describe --format md --out docs/reference writes " << page.path().filename());
        CHECK(read(page) == read(std::filesystem::path(DTK_SOURCE) / "docs" / "reference" / page.path().filename()));
    }
    // A page with the picture and the verdict of each law.
    REQUIRE(dtk_program({"plugins", "describe", "schedule", "cosine", "--format", "html", "--out", "html"}, folder.path)
                .code == 0);
    const auto page = read(folder / "html" / "schedule-cosine.html");
    for (const auto* part : {"<svg", "beta_max", "laws hold", "noise grows with time", "Nichol &amp; Dhariwal"})
        CHECK(says(page, part));
    CHECK(says(read(folder / "html" / "index.html"), "schedule-cosine.html"));
}

TEST_CASE("the schema holds every plugin with every field, and every table of a stage") {
    const auto shown = dtk_program({"schema"}, ".");
    REQUIRE(shown.code == 0);
    CHECK(shown.err.empty());
    const auto schema = nlohmann::json::parse(shown.out);
    const auto described = dtk_program({"plugins", "describe", "--json"}, ".");
    REQUIRE(described.code == 0);
    std::size_t fields = 0;
    for (const auto& plugin : nlohmann::json::parse(described.out)) {
        const auto kind = plugin["kind"].get<std::string>(), name = plugin["name"].get<std::string>();
        INFO(kind << " " << name);
        REQUIRE(schema["definitions"].contains(kind));
        CHECK(schema["properties"].contains(kind));
        CHECK(schema["properties"]["stage"]["items"]["properties"].contains(kind));
        const nlohmann::json* own = nullptr;
        for (const auto& one : schema["definitions"][kind]["anyOf"])
            if (one.contains("properties") && one["properties"]["use"]["const"] == plugin["name"]) own = &one;
        REQUIRE(own);
        CHECK((*own)["additionalProperties"] == false);
        for (const auto& field : plugin["fields"]) {
            const auto key = field["key"].get<std::string>();
            INFO(key);
            REQUIRE((*own)["properties"].contains(key));
            CHECK((*own)["properties"][key]["description"] == field["doc"]);
            ++fields;
        }
    }
    CHECK(fields > 300);
    for (const auto* key : {"name", "seed", "device", "threads", "train", "validate", "sample", "init", "stage",
                            "plugins", "ablation", "seeds", "expect"})
        CHECK(schema["properties"].contains(key));
    // A range and a choice as an editor sees them.
    const auto& train = schema["properties"]["train"]["properties"];
    CHECK(train["lr"]["exclusiveMinimum"] == 0);
    CHECK(train["lr"]["type"] == "number");
    CHECK(train["precision"]["enum"] == nlohmann::json{"float32", "bf16"});
}

TEST_CASE("a shell completes commands, options, plugins and their fields") {
    const auto found = [](std::vector<std::string> words) {
        words.insert(words.begin(), "--complete");
        const auto outcome = dtk_program(words, ".");
        CHECK(outcome.code == 0);
        return "\n" + outcome.out;
    };
    CHECK(found({"plugins", "desc"}) == "\ndescribe\n");
    CHECK(says(found({"plugins", "describe", "he"}), "\nheun\n"));
    CHECK(says(found({"run", "x.toml", "--res"}), "\n--resume\n"));
    CHECK(says(found({"run", "x.toml", "--set", "sampler.use=he"}), "\nsampler.use=heun\n"));
    CHECK(says(found({"run", "x.toml", "--set", "sampler.s_ch"}), "\nsampler.s_churn=\n"));
    CHECK(says(found({"run", "x.toml", "--set", "process.schedule=cos"}), "\nprocess.schedule=cosine\n"));
    CHECK(says(found({"run", "x.toml", "--set", "train.l"}), "\ntrain.lr=\n"));
    CHECK(says(found({"new", "sam"}), "\nsampler\n"));
    CHECK(found({"run", "exper"}) == "\n");  // a file: the shell knows better
    for (const auto* shell : {"bash", "zsh", "fish"})
        CHECK(says(dtk_program({"completion", shell}, ".").out, "--complete"));
    CHECK(dtk_program({"completion", "tcsh"}, ".").code == 2);
}
