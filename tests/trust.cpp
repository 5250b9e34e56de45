// Whose plugins are loaded: folders that others can write, relative search paths, and folders that a run's own files
// name; and what is read of a plugin's file before it is trusted at all.
#include "base/trust.hpp"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/elf.hpp"
#include "base/registry.hpp"
#include "catch.hpp"
#include "run_program.hpp"

namespace {

namespace fs = std::filesystem;

fs::path good_plugin() { return fs::path(DTK_OFFENDERS) / "good" / "good.so"; }

/// A folder `name` with the plugin `good` in it.
fs::path plugins_in(const Folder& folder, const std::string& name, mode_t mode = 0755) {
    const auto path = folder / name;
    fs::create_directories(path);
    fs::copy_file(good_plugin(), path / "good.so");
    ::chmod((path / "good.so").c_str(), 0755);
    ::chmod(path.c_str(), mode);
    return path;
}

const std::string experiment =
    "seed = 1\nthreads = 1\n[dataset]\nuse = \"gaussian_mixture\"\n[process]\nsteps = 50\n[model]\nuse = \"exact\"\n"
    "[sampler]\nuse = \"ddim\"\nsteps = 5\n[sample]\nn = 4\n[schedule]\nuse = \"good\"\n";

std::string with_plugins(const fs::path& path) {
    return experiment + "[plugins]\npath = [\"" + path.string() + "\"]\n";
}

Outcome check(const Folder& folder, const std::string& file, std::vector<std::string> more = {},
              Running::Environment environment = {}) {
    std::vector<std::string> arguments{"check", file};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return dtk_program(arguments, folder.path, std::move(environment));
}

void refused(const Outcome& outcome, int code, const std::string& phrase) {
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == code);
    CHECK(says(outcome.err, phrase));
    CHECK(says(outcome.err, "= help: "));
}

}  // namespace

TEST_CASE("what others can write is seen by mode, owner and group") {
    const Folder folder;
    const auto path = folder / "a";
    fs::create_directory(path);
    const auto at = [&](mode_t mode) {
        ::chmod(path.c_str(), mode);
        return dtk::writable_by_others(path);
    };
    CHECK(at(0755).empty());
    CHECK(at(0700).empty());
    CHECK(at(0777) == "every user can write there");
    CHECK(at(01777) == "every user can write there");
    CHECK(dtk::writable_by_others(folder / "none").empty());
    if (::geteuid() != 0) return;
    REQUIRE(::chown(path.c_str(), 0, 4242) == 0);
    CHECK(at(0775) == "the group 4242 can write there");
    REQUIRE(::chown(path.c_str(), 4243, 0) == 0);
    CHECK(at(0755) == "it belongs to user 4243");
}

TEST_CASE("plugins in folders or files that others can write are not loaded, and the cure is said") {
    const Folder folder;
    write(folder / "experiment.toml", experiment);
    const auto open = plugins_in(folder, "open", 0777);
    refused(check(folder, "experiment.toml", {"--plugin-path", open.string()}), 3,
            "plugins in " + open.string() + " are not loaded: every user can write there");
    refused(check(folder, "experiment.toml", {}, {{"DTK_PLUGIN_PATH", open.string()}}), 3, "are not loaded");
    CHECK(check(folder, "experiment.toml", {"--plugin-path", open.string(), "--trust", open.string()}).code == 0);
    CHECK(check(folder, "experiment.toml", {"--plugin-path", open.string(), "--trust", folder.path.string()}).code ==
          3);

    const auto closed = plugins_in(folder, "closed");
    CHECK(check(folder, "experiment.toml", {"--plugin-path", closed.string()}).code == 0);
    ::chmod((closed / "good.so").c_str(), 0777);
    refused(check(folder, "experiment.toml", {"--plugin-path", closed.string()}), 3, "every user can write there");

    // A folder below, and a file that is a link to where others can write.
    plugins_in(folder, "outer/inner", 0777);
    refused(check(folder, "experiment.toml", {"--plugin-path", (folder / "outer").string()}), 3,
            "every user can write there");
    fs::create_directory(folder / "links");
    fs::create_symlink(open / "good.so", folder / "links/good.so");
    refused(check(folder, "experiment.toml", {"--plugin-path", (folder / "links").string()}), 3,
            "every user can write there");
    fs::create_symlink(open, folder / "way");
    refused(check(folder, "experiment.toml", {"--plugin-path", (folder / "way").string()}), 3,
            "every user can write there");
}

TEST_CASE("a relative folder in DTK_PLUGIN_PATH is refused, wherever it stands in the list") {
    const Folder folder;
    write(folder / "experiment.toml", experiment);
    const auto own = plugins_in(folder, "own");
    for (const auto& list : {std::string("own"), "./own:" + own.string(), own.string() + ":own"})
        refused(check(folder, "experiment.toml", {}, {{"DTK_PLUGIN_PATH", list}}), 2, "which is another folder");
    CHECK(check(folder, "experiment.toml", {}, {{"DTK_PLUGIN_PATH", ":" + own.string() + ":"}}).code == 0);
}

TEST_CASE("a file is part of the outermost run or study around it") {
    const Folder folder;
    fs::create_directories(folder / "study/tasks/a/checkpoints");
    CHECK_FALSE(dtk::record_around(folder / "study/tasks/a/stage.toml"));
    write(folder / "study/tasks/a/run.json", "{}");
    CHECK(dtk::record_around(folder / "study/tasks/a/x.toml") == fs::canonical(folder / "study/tasks/a"));
    write(folder / "study/study.json", "{}");
    CHECK(dtk::record_around(folder / "study/tasks/a/x.toml") == fs::canonical(folder / "study"));
    CHECK_FALSE(dtk::record_around(folder / "x.toml"));
}

TEST_CASE("plugins that a run brings with it are loaded when the user says so, and not before") {
    const Folder folder;
    const auto run = folder / "run";
    const auto plugins = plugins_in(folder, "run/plugins");
    write(run / "run.json", "{}");
    for (const auto& path : {plugins, fs::path("plugins"), fs::path("../run/plugins"), run}) {
        for (const auto* name : {"stage.toml", "resolved.toml", "experiment.toml"}) {
            write(run / name, with_plugins(path));
            refused(check(folder, std::string("run/") + name), 2, "because a file of the run or study in");
        }
        refused(dtk_program({"sample", "run", "--out", "drawn"}, folder.path), 2, "--trust");
        CHECK_FALSE(fs::exists(folder / "drawn"));
        CHECK(dtk_program({"schedule", "show", "run"}, folder.path).code != 0);
    }
    write(run / "stage.toml", with_plugins(plugins));
    CHECK(check(folder, "run/stage.toml", {"--trust", plugins.string()}).code == 0);
    CHECK(check(folder, "run/stage.toml", {}, {{"DTK_TRUST", plugins.string()}}).code == 0);

    // A link in the run's folder that leads out of it, and one outside that leads into it.
    const auto outside = plugins_in(folder, "outside");
    write(run / "stage.toml", with_plugins(outside));
    CHECK(check(folder, "run/stage.toml").code == 0);
    fs::create_symlink(plugins, folder / "innocent");
    write(run / "stage.toml", with_plugins(folder / "innocent"));
    refused(check(folder, "run/stage.toml"), 2, "because a file of the run or study in");
}

TEST_CASE("what a study's record says of plugins is not followed without the user's word") {
    const Folder folder;
    fs::create_directory(folder / "study");
    const auto plugins = plugins_in(folder, "study/plugins");
    write(folder / "study.toml", experiment +
                                     "[ablation]\nseeds = [1]\n[[ablation.axis]]\nkey = \"schedule.use\"\nvalues = "
                                     "[\"good\", \"cosine\"]\n");
    write(folder / "study/study.toml", experiment);
    for (const auto* where : {"\"plugin_path\": [\"", "\"set\": [\"plugins.path=['"}) {
        const bool set = says(where, "set");
        write(folder / "study/study.json", "{\"file\": \"" + (folder / "study.toml").string() +
                                               "\", \"threads\": 1, \"device\": null, " + (set ? "" : "\"set\": [], ") +
                                               where + plugins.string() + (set ? "']" : "") + "\"]}");
        const auto outcome = dtk_program({"report", "study"}, folder.path);
        INFO(outcome.err);
        // A report is made of what is in the folder, and opens no plugin.
        CHECK(outcome.code == 2);
        CHECK_FALSE(says(outcome.err, "plugin"));
    }
}

TEST_CASE("a plugin's symbols are those that it exports from its section") {
    const auto found = dtk::exported_symbols(good_plugin(), "dtk2");
    REQUIRE(found.symbols.size() == 1);
    CHECK(says(found.symbols[0], "dtk_Schedule_good__"));
    CHECK(std::find(found.sections.begin(), found.sections.end(), ".dynsym") != found.sections.end());
    CHECK(dtk::exported_symbols(good_plugin(), "dtk0").symbols.empty());
}

TEST_CASE("tables that claim more than their file holds are refused before anything is read") {
    const Folder folder;
    const auto whole = read(good_plugin());
    const auto path = folder / "a.so";
    Elf64_Ehdr header;
    std::memcpy(&header, whole.data(), sizeof header);
    for (const std::uint64_t size : {std::uint64_t{5} << 30, UINT64_MAX, whole.size() + std::uint64_t{1}})
        for (int i = 0; i < header.e_shnum; ++i) {
            auto bytes = whole;
            auto* section = bytes.data() + header.e_shoff + i * sizeof(Elf64_Shdr);
            Elf64_Shdr facts;
            std::memcpy(&facts, section, sizeof facts);
            if (facts.sh_type != SHT_DYNSYM && facts.sh_type != SHT_STRTAB) continue;
            facts.sh_size = size;
            std::memcpy(section, &facts, sizeof facts);
            write(path, bytes);
            const auto complaint = complaint_of([&] { dtk::exported_symbols(path, "dtk2"); });
            if (facts.sh_type == SHT_DYNSYM) CHECK(says(complaint, "is cut short"));
        }
    for (std::size_t length = 0; length < whole.size(); length += whole.size() / 97 + 1) {
        write(path, whole.substr(0, length));
        CHECK_FALSE(complaint_of([&] { dtk::exported_symbols(path, "dtk2"); }).empty());
    }
    for (std::size_t place = 0; place < sizeof header; ++place)
        for (const char flip : {'\x01', '\x40', '\xff'}) {
            auto bytes = whole;
            bytes[place] = static_cast<char>(bytes[place] ^ flip);
            write(path, bytes);
            CHECK_NOTHROW(complaint_of([&] { dtk::exported_symbols(path, "dtk2"); }));
        }
    fs::remove(path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK(says(complaint_of([&] { dtk::exported_symbols(path, "dtk2"); }), "no regular file"));
}

TEST_CASE("a cache of plugins that holds anything else is made anew, and one that is no file is passed over") {
    const Folder folder;
    const auto plugins = plugins_in(folder, "plugins");
    const auto cache = folder / "cache/dtk/plugins.json";
    fs::create_directories(cache.parent_path());
    const auto list = [&] {
        return dtk_program({"plugins", "list", "schedule", "--plugin-path", plugins.string()}, folder.path,
                           {{"XDG_CACHE_HOME", (folder / "cache").string()}});
    };
    REQUIRE(list().code == 0);
    const auto learnt = read(cache);
    REQUIRE(says(learnt, "nothing is wrong with it"));
    std::string deep(300'000, '[');
    auto other_type = learnt;
    for (std::size_t at = 0; (at = other_type.find("{\"summary\"", at)) != std::string::npos; ++at)
        other_type.replace(at, other_type.find('}', at) + 1 - at, "7");
    for (const auto& text : {std::string("[]"), std::string("7"), std::string("{\"a\": "), deep, other_type,
                             changed(learnt, "\"summary\":\"nothing", "\"summary\":3,\"x\":\"")}) {
        write(cache, text);
        const auto outcome = list();
        INFO(text.substr(0, 100) << "\n" << outcome.err);
        CHECK(outcome.code == 0);
        CHECK(says(outcome.out, "nothing is wrong with it"));
        CHECK(read(cache) == learnt);
    }
    fs::remove(cache);
    REQUIRE(::mkfifo(cache.c_str(), 0600) == 0);
    CHECK(list().code == 0);
    fs::remove(cache);
    fs::create_directory(cache);
    CHECK(list().code == 0);
}
