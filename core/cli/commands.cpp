// Plugins, samples and this machine, on the command line; and what the commands share.
#include "cli/commands.hpp"

#include <algorithm>
#include <csignal>
#include <ctime>
#include <fstream>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <nlohmann/json.hpp>

#include "base/blame.hpp"
#include "base/build.hpp"
#include "base/declaration.hpp"
#include "base/files.hpp"
#include "base/schema.hpp"
#include "base/words.hpp"
#include "study/run_store.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

/// What a function of that name in one of dtk's own libraries that need LibTorch answers; the library is opened for
/// good.
template <class Half>
Half& opened(const char* name, const char* function) {
    static auto& library = *new boost::dll::shared_library;
    if (!library.is_loaded()) {
        const fs::path folder = boost::dll::program_location().parent_path().string();
        const auto beside = folder / "core" / name, installed = folder / "../lib" / name;
        try {
            // Lazily: binding all of LibTorch's symbols at once would take longer than most commands.
            library.load((fs::exists(beside) ? beside : installed).string(), boost::dll::load_mode::rtld_lazy);
        } catch (const boost::dll::fs::system_error& error) {
            throw Error(std::string("dtk's half that needs LibTorch cannot be loaded: ") + error.what(),
                        "run ./dtk setup and ./dtk build");
        }
    }
    return *library.get<Half*()>(function)();
}

}  // namespace

Engine& engine() { return opened<Engine>("libdtk.so", "dtk_open_engine"); }

Laws& laws() { return opened<Laws>("libdtk_laws.so", "dtk_open_laws"); }

std::string padded(const std::string& text, std::size_t width) {
    // Neither the later bytes of a character nor marks above it (U+0300 …, 0xCC and 0xCD) take room.
    const auto takes_room = [](unsigned char c) { return (c & 0xC0) != 0x80 && c != 0xCC && c != 0xCD; };
    const auto shown = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), takes_room));
    return text + std::string(shown < width ? width - shown : 0, ' ');
}

fs::path fresh_folder(const fs::path& parent) {
    std::error_code error;
    fs::create_directories(parent, error);
    const auto stamp = fmt::format("{:%Y%m%d-%H%M%S}", fmt::localtime(std::time(nullptr)));
    for (int n = 1; !error; ++n) {
        const auto path = parent / (n == 1 ? stamp : fmt::format("{}-{}", stamp, n));
        if (fs::create_directory(path, error)) return path;
    }
    throw UserError(fmt::format("cannot make a folder in {}: {}", parent.string(), error.message()), "give --out");
}

int complain(const Diagnostics& mistakes) {
    fmt::print(stderr, "{}", mistakes.text());
    if (mistakes.count() > 1) fmt::print(stderr, "{} mistakes\n", mistakes.count());
    return mistakes.exit_code();
}

namespace {

Registry registry(const std::vector<fs::path>& folders) { return Registry(plugin_folders(folders)); }

void print_skipped(const Registry& registry) {
    for (const auto& skipped : registry.skipped())
        fmt::print("skipped  {}: {}\n", skipped.file.string(), skipped.reason);
    for (const auto& plugin : registry.plugins()) {
        for (const auto& twin : plugin.twins)
            fmt::print("twice    {} `{}`: {} and {}\n", plugin.kind, plugin.name, plugin.file.string(), twin.string());
        for (const auto& shadowed : plugin.shadowed)
            fmt::print("shadowed {} `{}`: {} by {}\n", plugin.kind, plugin.name, shadowed.string(),
                       plugin.file.string());
    }
}

}  // namespace

int sample(SampleRequest& request) {
    if (fs::is_regular_file(request.run)) {  // RUN/checkpoints/00000100.safetensors
        if (request.step || request.best)
            throw UserError(fmt::format("{} is one checkpoint, and --step asks for another", request.run.string()),
                            "leave --step out, or name the folder of the run");
        request.checkpoint = fs::absolute(request.run).lexically_normal();
        request.run = request.checkpoint->parent_path().parent_path();
    }
    // A folder of its own, however many begin within the same second; gone again where nothing came of it.
    std::signal(SIGPIPE, SIG_IGN);
    std::optional<fs::path> made;
    if (!request.out && fs::exists(request.run / "stage.toml"))
        request.out = made = fresh_folder(request.run / "sampled");
    const auto code = engine().sample(request);
    std::error_code ignored;
    if (made && fs::is_empty(*made, ignored)) {
        fs::remove(*made, ignored);
        if (fs::is_empty(made->parent_path(), ignored)) fs::remove(made->parent_path(), ignored);
    }
    return code;
}

int ema(const AverageRequest& request) { return engine().ema(request); }

int plugins_list(const PluginsRequest& request) {
    const auto all = registry(request.folders);
    const auto kinds = all.kinds();
    if (!request.kind.empty() && std::find(kinds.begin(), kinds.end(), request.kind) == kinds.end())
        throw Error(fmt::format("there is no plugin of kind `{}`", request.kind),
                    did_you_mean(request.kind, kinds, fmt::format("there are {}", listed(kinds))));
    std::vector<PluginFile> shown;
    for (const auto& plugin : all.plugins())
        if (request.kind.empty() || plugin.kind == request.kind) shown.push_back(plugin);
    const auto probes = all.probe(shown);
    if (request.json) {
        json list = json::array();
        for (std::size_t i = 0; i < shown.size(); ++i) {
            json one{{"kind", shown[i].kind},
                     {"name", shown[i].name},
                     {"summary", probes[i].summary},
                     {"file", shown[i].file.string()},
                     {"interface", text_of(shown[i].interface_version)},
                     {"default", shown[i].is_default}};
            if (!probes[i].problem.empty()) one["problem"] = probes[i].problem;
            list.push_back(std::move(one));
        }
        fmt::print("{}\n", list.dump(2));
        return done;
    }
    std::size_t kind_width = 0, name_width = 0;
    for (const auto& plugin : shown)
        kind_width = std::max(kind_width, plugin.kind.size()), name_width = std::max(name_width, plugin.name.size());
    for (std::size_t i = 0; i < shown.size(); ++i) {
        const auto& plugin = shown[i];
        const auto problem = probes[i].problem.substr(0, probes[i].problem.find('\n'));
        const auto text = !problem.empty() ? problem : probes[i].summary + (plugin.is_default ? " [default]" : "");
        fmt::print("{}  {}  {}\n", padded(plugin.kind, kind_width), padded(plugin.name, name_width), text);
        if (request.verbose) fmt::print("{}  {}\n", std::string(kind_width, ' '), plugin.file.string());
    }
    if (request.verbose) print_skipped(all);
    return done;
}

int plugins_path(const PluginsRequest& request) {
    for (const auto& folder : plugin_folders(request.folders))
        fmt::print("{}{}\n", folder.string(), fs::is_directory(folder) ? "" : "  (not there)");
    return done;
}

int schema(const PluginsRequest& request) {
    std::vector<std::string> left_out;
    const auto made = experiment_schema(registry(request.folders), left_out);
    for (const auto& plugin : left_out) fmt::print(stderr, "left out, since it cannot be used: {}\n", plugin);
    fmt::print("{}\n", made.dump(1));
    return done;
}

int doctor(const PluginsRequest& request) {
    fmt::print("dtk      {}\nbuild    {}\n{}", version(), torch_build_text(), engine().doctor());
    fmt::print("         CUDA has been compiled and simulated; no test of this project has run on a GPU yet\n");
    const auto all = registry(request.folders);
    const auto probes = all.probe(all.plugins());
    const auto broken =
        std::count_if(probes.begin(), probes.end(), [](const Probe& probe) { return !probe.problem.empty(); });
    fmt::print("plugins  {} found, {} cannot be used\n", all.plugins().size(), broken);
    for (std::size_t i = 0; i < probes.size(); ++i)
        if (!probes[i].problem.empty())
            fmt::print("broken   {} `{}`: {}\n         {}\n", all.plugins()[i].kind, all.plugins()[i].name,
                       probes[i].problem, all.plugins()[i].file.string());
    print_skipped(all);
    return done;
}

int diagnose(const std::string& run, DiagnoseRequest& request) {
    std::error_code error;
    if (fs::exists(fs::path(run) / "stage.toml", error) && !fs::exists(fs::path(run) / "run.json", error)) {
        request.stages = {run};  // a stage of a run
        request.run = fs::canonical(run).parent_path();
    } else {
        const auto record = find_record(run);
        if (record.what == Record::What::study)
            throw UserError(fmt::format("{} is a study, and the doctor looks at one run", run),
                            fmt::format("name one of its cells: {}/tasks/…", run));
        request.run = record.folder;
        for (const auto& [name, folder] : stages_of(record))
            if (fs::exists(folder / "stage.toml", error) || request.stages.empty()) request.stages.push_back(folder);
    }
    return engine().diagnose(request);
}

}  // namespace dtk::cli
