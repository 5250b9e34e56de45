// dtk new, dtk plugins build and dtk plugins watch: from a name to a plugin that runs.
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include <boost/dll/runtime_symbol_info.hpp>

#include "base/files.hpp"
#include "base/overlay.hpp"
#include "cli/commands.hpp"
#include "cli/templates.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;

namespace {

/// my_first → MyFirst
std::string type_name(std::string_view name) {
    std::string type;
    bool capital = true;
    for (const char c : name) {
        if (c != '_') type += capital && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        capital = c == '_';
    }
    return type;
}

void replace(std::string& text, const std::string& what, const std::string& by) {
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
}

/// A kind's template: the plugin under its new name, and what an experiment sets to use it.
struct Fresh {
    std::string source;
    std::vector<std::string> set;
};
Fresh fresh(const std::string& kind, const std::string& name) {
    const auto& all = templates();
    const auto found = all.find(kind + ".cpp");
    if (found == all.end()) {
        std::vector<std::string> kinds;
        for (const auto& [file, text] : all)
            if (file.ends_with(".cpp")) kinds.push_back(file.substr(0, file.size() - 4));
        throw UserError(fmt::format("there is no kind of plugin `{}`", kind),
                        did_you_mean(kind, kinds, fmt::format("there are {}", listed(kinds))));
    }
    Fresh made{found->second, {}};
    replace(made.source, "my_" + kind, name);
    replace(made.source, type_name("my_" + kind), type_name(name));
    // Lines "//! KEY=VALUE" at the top are not the plugin's.
    const std::string mark = "//! ";
    while (made.source.starts_with(mark)) {
        const auto end = made.source.find('\n');
        made.set.push_back(made.source.substr(mark.size(), end - mark.size()));
        made.source.erase(0, end + 1);
    }
    return made;
}

/// An experiment of seconds that uses the plugin, and finds it where it is built.
std::string experiment_with(const Fresh& plugin, const std::string& name) {
    const Registry registry(plugin_folders({}));
    auto table = toml::parse(templates().at("experiment.toml"));
    Diagnostics mistakes;
    Laid laid;
    lay_over(table, plugin.set, Parts(registry), mistakes, laid);
    if (!mistakes.empty()) throw Error(mistakes.text());
    table.insert_or_assign("name", "try_" + name);
    table.insert_or_assign("plugins", toml::table{{"path", toml::array{"build/plugins"}}});
    return toml_text(table);
}

/// Where the headers and CMake files of this dtk lie: the prefix that it was installed to, or a copy made in its build.
fs::path sdk() {
    const fs::path folder = boost::dll::program_location().parent_path().string();
    const auto prefix = folder.parent_path();
    if (fs::exists(prefix / "lib/cmake/dtk/dtkConfig.cmake")) return prefix;
    if (!fs::exists(folder / "cmake_install.cmake"))
        throw UserError(fmt::format("{} holds no headers of dtk", prefix.string()),
                        "install dtk whole: cmake --install BUILD --prefix PREFIX");
    const auto copy = folder / "sdk";
    const auto command =
        shell_command({"cmake", "--install", folder.string(), "--prefix", copy.string(), "--component", "sdk"});
    if (std::system((command + " >/dev/null").c_str()) != 0)
        throw Error("dtk's headers could not be copied", "run " + command);
    return copy;
}

/// Runs it with what it prints kept for when it fails. → did it end well?
bool ran(const std::vector<std::string>& words, const fs::path& log) {
    return std::system(fmt::format("{} >{} 2>&1", shell_command(words), shell_word(log.string())).c_str()) == 0;
}

}  // namespace

fs::path build_plugin(const fs::path& source) {
    if (!fs::is_regular_file(source))
        throw UserError(fmt::format("there is no file {}", source.string()), "give the plugin's C++ file");
    const auto name = source.stem().string();
    const auto build = fs::absolute(source).lexically_normal().parent_path() / "build", project = build / "dtk" / name;
    fs::create_directories(project);
    write_atomically(project / "CMakeLists.txt",
                     fmt::format("cmake_minimum_required(VERSION 3.25)\nproject({0} CXX)\nfind_package(dtk REQUIRED)\n"
                                 "dtk_add_plugin({0} \"{1}\")\n",
                                 name, fs::absolute(source).lexically_normal().string()));
    const auto log = project / "log.txt";
    std::vector<std::string> configure{"cmake",
                                       "-S",
                                       project.string(),
                                       "-B",
                                       (project / "out").string(),
                                       "-G",
                                       "Ninja",
                                       "-DCMAKE_BUILD_TYPE=Release",
                                       "-DCMAKE_PREFIX_PATH=" + sdk().string()};
    // The compiler that dtk itself was built by is the faster one; CXX names another.
    if (!std::getenv("CXX") && fs::exists(DTK_CXX)) configure.push_back("-DCMAKE_CXX_COMPILER=" DTK_CXX);
    const bool configured = fs::exists(project / "out" / "build.ninja") || ran(configure, log);
    if (!configured || !ran({"cmake", "--build", (project / "out").string()}, log)) {
        fmt::print(stderr, "{}", harmless(read_file(log)));
        throw UserError(fmt::format("{} does not build", source.string()), "the compiler's words are above");
    }
    const auto plugin = build / "plugins" / (name + ".so");
    fs::create_directories(plugin.parent_path());
    // In its place at once: a program that has the old one loaded keeps that.
    const auto fresh = temporary_beside(plugin);
    fs::copy_file(project / "out" / "plugins" / (name + ".so"), fresh, fs::copy_options::overwrite_existing);
    fs::rename(fresh, plugin);
    return plugin;
}

int new_plugin(const NewRequest& request) {
    const auto& name = request.name;
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != name.npos ||
        !(name[0] >= 'a' && name[0] <= 'z'))
        throw UserError(fmt::format("`{}` cannot be the name of a plugin", name),
                        "use small letters, digits and _, and begin with a letter");
    const auto plugin = fresh(request.kind, name);
    const Registry registry(plugin_folders({}));
    const auto names = registry.names(request.kind);
    if (std::ranges::find(names, name) != names.end())
        throw UserError(fmt::format("there is a {} `{}` already: {}", request.kind, name,
                                    registry.find(request.kind, name).file.string()),
                        "choose another name");

    // In dtk's own checkout a plugin is a file in the folder of its kind, and nothing else.
    const auto like = names.empty() ? fs::path() : registry.find(request.kind, names.front()).file.parent_path();
    const auto room = fs::path("plugins") / like.filename();
    const bool inside = !request.folder && fs::exists("core/include/dtk/plugin.hpp") && fs::is_directory(room);
    const auto folder = inside ? room : request.folder.value_or(".");
    const auto source = (folder / (name + ".cpp")).lexically_normal();
    if (fs::exists(source))
        throw UserError(fmt::format("{} is there already", source.string()), "choose another name, or remove it");
    fs::create_directories(folder);
    write_atomically(source, plugin.source);
    fmt::print("{}\n", source.string());
    if (inside) {
        std::vector<std::string> run{"./dtk", "run", "experiments/quickstart.toml"};
        for (const auto& one : plugin.set) run.insert(run.end(), {"--set", one});
        fmt::print("It is built and found without another word:\n  ./dtk plugins check {}\n  {}\n", name,
                   shell_command(run));
        return done;
    }

    const auto experiment = source.parent_path() / (name + ".toml"), project = source.parent_path() / "CMakeLists.txt";
    if (!fs::exists(experiment)) {
        write_atomically(experiment, experiment_with(plugin, name));
        fmt::print("{}\n", experiment.string());
    }
    const auto line = fmt::format("dtk_add_plugin({0} {0}.cpp)", name);
    const auto before = fs::exists(project) ? read_file(project)
                                            : "cmake_minimum_required(VERSION 3.25)\nproject(my_plugins CXX)\n"
                                              "find_package(dtk REQUIRED)\n";
    // Somebody's project that has nothing to do with dtk stays as it is.
    if (before.find("find_package(dtk") != before.npos && before.find(line) == before.npos) {
        write_atomically(project, before + (before.ends_with('\n') ? "" : "\n") + line + "\n");
        fmt::print("{}\n", project.string());
    }
    fmt::print(
        "Next:\n  dtk plugins check {0}   (builds it first; dtk plugins build {0} does that alone)\n  dtk run {1}\n",
        shell_word(source.string()), shell_word(experiment.string()));
    return done;
}

int plugins_build(const BuildRequest& request) {
    for (const auto& source : request.sources) fmt::print("{}\n", build_plugin(source).string());
    return done;
}

int plugins_watch(const BuildRequest& request) {
    const auto& source = request.sources.front();
    for (auto seen = fs::file_time_type::min();;) {
        std::error_code error;
        // An editor that saves by renaming leaves a moment without the file.
        if (const auto now = fs::last_write_time(source, error); !error && now != seen) {
            seen = now;
            try {
                fmt::print("{}\n", build_plugin(source).string());
                std::fflush(stdout);
                if (!request.command.empty()) {
                    const int status = std::system(shell_command(request.command).c_str());
                    if (WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 130)) return interrupted;
                }
            } catch (const Error& failure) {
                fmt::print(stderr, "error: {}\n  = help: {}\n", failure.what(), failure.help());
            }
            fmt::print(stderr, "waiting until {} is saved again; Ctrl-C ends\n", source.string());
        } else if (error && seen == fs::file_time_type::min()) {
            throw UserError(fmt::format("there is no file {}", source.string()), "give the plugin's C++ file");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
}

}  // namespace dtk::cli
