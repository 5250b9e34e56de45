#include "cli/commands.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <ctime>
#include <fstream>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <nlohmann/json.hpp>

#include "base/blame.hpp"
#include "base/build.hpp"
#include "base/declaration.hpp"
#include "base/files.hpp"
#include "base/words.hpp"
#include "study/exports.hpp"
#include "study/memory.hpp"
#include "study/report.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

Engine& engine() {
    static auto& library = *new boost::dll::shared_library;
    if (!library.is_loaded()) {
        const fs::path folder = boost::dll::program_location().parent_path().string();
        const auto beside = folder / "core" / "libdtk.so", installed = folder / "../lib/libdtk.so";
        try {
            // Lazily: binding all of LibTorch's symbols at once would take longer than most commands.
            library.load((fs::exists(beside) ? beside : installed).string(), boost::dll::load_mode::rtld_lazy);
        } catch (const boost::dll::fs::system_error& error) {
            throw Error(std::string("dtk's half that needs LibTorch cannot be loaded: ") + error.what(),
                        "run ./dtk setup and ./dtk build");
        }
    }
    return *library.get<Engine*()>("dtk_open_engine")();
}

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
    throw Mistaken(fmt::format("cannot make a folder in {}: {}", parent.string(), error.message()), "give --out");
}

int complain(const Mistakes& mistakes) {
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

/// Registered plugins of that name (and kind, where one is given).
std::vector<PluginFile> named(const Registry& registry, const std::vector<std::string>& words) {
    std::vector<PluginFile> found;
    for (const auto& plugin : registry.plugins())
        if (plugin.name == words.back() && (words.size() == 1 || plugin.kind == words.front())) found.push_back(plugin);
    if (!found.empty()) return found;
    std::vector<std::string> known;
    for (const auto& plugin : registry.plugins()) known.push_back(plugin.name);
    const auto near = nearest(words.back(), known);
    throw Error(fmt::format("there is no plugin `{}`", fmt::join(words, " ")),
                near.empty() ? "`dtk plugins list` shows what there is" : fmt::format("did you mean `{}`?", near));
}

Study read(const fs::path& file, const Overrides& overrides, std::int64_t threads, Mistakes& mistakes) {
    return read_study(
        file, overrides, threads,
        [](const auto& file, const auto& laid, Mistakes& found) { return engine().examine(file, laid, found); },
        mistakes);
}

/// "i/n", both counted from 1.
std::optional<std::pair<std::int64_t, std::int64_t>> part_of(const std::string& text) {
    if (text.empty()) return std::nullopt;
    std::pair<std::int64_t, std::int64_t> part;
    char rest = 0;
    if (std::sscanf(text.c_str(), "%ld/%ld%c", &part.first, &part.second, &rest) != 2 || part.first < 1 ||
        part.first > part.second)
        throw Error(fmt::format("`--cell {}` is no share", text), "write --cell 1/8 to --cell 8/8");
    return part;
}

/// What the cells of a study run on, as far as the file says.
struct Hardware {
    std::int64_t threads, jobs;
    std::vector<std::string> gpus;
};

/// One thread for a cell unless the file says otherwise, for two cells of one thread each are faster than one of two,
/// and as many cells as fill the cores; on `cuda` one for each GPU.
Hardware hardware_for(const RunRequest& request) {
    Mistakes ignored;
    const auto root = read_toml(request.file, request.overrides.set, ignored);
    const auto threads = root["threads"].value_or(std::int64_t{1});
    const auto device = request.overrides.device.value_or(root["device"].value_or(std::string("cpu")));
    if (device == "cuda") {
        const auto gpus = visible_gpus();
        return {threads, std::max<std::int64_t>(1, std::ssize(gpus)), gpus};
    }
    const auto cores = static_cast<std::int64_t>(std::max(1u, std::thread::hardware_concurrency()));
    return {threads, device != "cpu" || threads == 0 ? 1 : std::max<std::int64_t>(1, cores / threads), {}};
}

std::atomic<int> signals_seen{0};
void on_signal(int number) {
    if (signals_seen.fetch_add(1) > 0) std::signal(number, SIG_DFL), std::raise(number);
}

/// What arms drop of the file.
void say_notes(const Study& study) {
    for (const auto& note : study.notes) Progress::note("note: " + harmless(note));
}

/// Writes the report, then prints the table and the verdicts: who reads only the beginning loses no result.
int conclude(const Study& study, const fs::path& folder, bool accept_rebuilt) {
    const auto findings = findings_of(study, folder, accept_rebuilt);
    const auto report = write_report(study, findings, folder, accept_rebuilt);
    write_exports(folder);
    std::signal(SIGPIPE, SIG_DFL);
    fmt::print("{}\n", table_text(study, findings));
    for (const auto& sentence : verdicts(study, findings, study.metrics.front())) fmt::print("{}\n", sentence);
    for (const auto& warning : findings.warnings) fmt::print("warning: {}\n", warning);
    for (const auto& [number, reason] : findings.failures)
        fmt::print(stderr, "failed: {}, seed {}: {}\n  = help: {}\n", study.arms[study.cells[number].arm].name,
                   study.cells[number].seed, reason, command_of(study, study.task(study.cells[number].task), folder));
    fmt::print("\nreport   {}\n", report.string());
    return findings.failures.empty() ? done : failed;
}

/// What there is to do, for who reads the folder without the study's file: every arm with every seed, and its tasks.
void keep_cells(const Study& study, json& record) {
    record["name"] = study.name, record["question"] = study.question;
    record["cells"] = json::array();
    for (const auto& cell : study.cells) {
        const auto& task = study.task(cell.task);
        record["cells"].push_back(
            {{"arm", study.arms[cell.arm].name}, {"seed", cell.seed}, {"task", task.id}, {"needs", task.needs}});
    }
}

int run_as_study(const RunRequest& request, const StudyOptions& options) {
    if (request.resume)
        throw Error("a study needs no --resume: the same command goes on where it was", "leave --resume out");
    if (!request.overrides.artefacts.empty())
        throw Error("a study trains what its cells stand on itself",
                    "write `first` in [ablation], or name the run's folder in the field");
    if (request.overrides.seed)
        throw Error("a study has its seeds in its file",
                    "write `seeds` in [ablation], or --set ablation.seeds=[1,2,3]");
    const auto part = part_of(options.part);
    const auto hardware = hardware_for(request);
    const auto threads = hardware.threads;
    const auto jobs = options.jobs > 0 ? options.jobs : hardware.jobs;
    Mistakes mistakes;
    const auto study = read(request.file, request.overrides, threads, mistakes);
    if (!mistakes.empty()) return complain(mistakes);
    say_notes(study);
    const auto folder = fs::absolute(request.out.value_or(fs::path("runs") / study.name / "study"));
    if (request.dry_run) {
        fmt::print("{}", plan_text(study, folder, jobs, options.accept_rebuilt));
        return done;
    }
    try {
        fs::create_directories(folder);
        write_atomically(folder / "study.toml", study.text);
        json record{
            {"file", study.file.string()}, {"set", request.overrides.set}, {"threads", threads}, {"device", nullptr}};
        if (request.overrides.device) record["device"] = *request.overrides.device;
        for (const auto& path : request.overrides.plugin_path)
            record["plugin_path"].push_back(fs::absolute(path).string());
        record["accept_rebuilt"] = options.accept_rebuilt;
        keep_cells(study, record);
        write_atomically(folder / "study.json", record.dump(2) + "\n");
        fmt::print(stderr, "study    {}\n         {} arms × {} seeds, {} tasks, {} at a time\n", folder.string(),
                   study.arms.size(), study.seeds.size(), study.tasks.size(), jobs);
        std::signal(SIGINT, on_signal);
        std::signal(SIGTERM, on_signal);
        run_study(study, {folder, jobs, part, hardware.gpus, options.accept_rebuilt, request.progress,
                          [] { return signals_seen.load() > 0; }});
        return conclude(study, folder, options.accept_rebuilt);
    } catch (const Interrupted& error) {
        fmt::print(stderr, "dtk: {}\n  = help: the same command goes on\n", error.what());
        return interrupted;
    } catch (const Mistaken&) {
        throw;
    } catch (const PluginError&) {
        throw;
    } catch (const Error& error) {
        // Once it has begun, what goes wrong, such as a full disk, is nobody's mistake.
        fmt::print(stderr, "error: {}\n", error.what());
        if (!error.help().empty()) fmt::print(stderr, "  = help: {}\n", error.help());
        return failed;
    }
}

}  // namespace

int run(RunRequest& request, bool resume, const StudyOptions& study) {
    std::signal(SIGPIPE, SIG_IGN);  // who stops reading does not end the work
    if (is_study(request.file, request.overrides)) return run_as_study(request, study);
    if (study.jobs > 0 || !study.part.empty())
        throw Error(fmt::format("{} is no study: it has no [ablation]", request.file.string()),
                    "--jobs and --cell are for studies");
    if (resume && !request.resume) request.resume = "latest";
    return engine().run(request);
}

int check(const fs::path& file, const Overrides& overrides) {
    if (!is_study(file, overrides)) return engine().check(file, overrides);
    Mistakes mistakes;
    const auto study = read(file, overrides, 1, mistakes);
    if (!mistakes.empty()) return complain(mistakes);
    say_notes(study);
    fmt::print("{} is in order: {} arms × {} seeds\n", file.string(), study.arms.size(), study.seeds.size());
    return done;
}

int report(const fs::path& folder) {
    if (!fs::exists(folder / "study.toml") || !fs::exists(folder / "study.json"))
        throw Error(fmt::format("{} is not the folder of a study", folder.string()),
                    "a study's folder holds study.toml once it has begun");
    auto record = json::parse(read_file(folder / "study.json"), nullptr, false);
    if (!record.is_object() || !record.contains("set") || !record.contains("device") || !record.contains("threads") ||
        !record.contains("file"))
        throw Mistaken(fmt::format("{} is damaged", (folder / "study.json").string()),
                       "the same `dtk run` as before writes it anew");
    Overrides overrides;
    overrides.set = record["set"].get<std::vector<std::string>>();
    if (record["device"].is_string()) overrides.device = record["device"].get<std::string>();
    for (const auto& path : record.value("plugin_path", std::vector<std::string>()))
        overrides.plugin_path.emplace_back(path);
    overrides.record = fs::canonical(folder);
    Mistakes mistakes;
    const auto study =
        read(record["file"].get<std::string>(), overrides, record["threads"].get<std::int64_t>(), mistakes);
    if (!mistakes.empty()) return complain(mistakes);
    record["accept_rebuilt"] = true;
    keep_cells(study, record);
    write_atomically(folder / "study.json", record.dump(2) + "\n");
    return conclude(study, folder, true);
}

int sample(SampleRequest& request) {
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

int plugins_list(const PluginsRequest& request) {
    const auto all = registry(request.folders);
    const auto kinds = all.kinds();
    if (!request.kind.empty() && std::find(kinds.begin(), kinds.end(), request.kind) == kinds.end()) {
        const auto near = nearest(request.kind, kinds);
        throw Error(
            fmt::format("there is no plugin of kind `{}`", request.kind),
            near.empty() ? fmt::format("there are {}", listed(kinds)) : fmt::format("did you mean `{}`?", near));
    }
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
                     {"interface", shown[i].interface_version},
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

int plugins_describe(const PluginsRequest& request) {
    const auto all = registry(request.folders);
    json list = json::array();
    for (const auto& plugin : named(all, request.names)) {
        all.find(plugin.kind, plugin.name);  // says so where two files claim the name
        if (const auto probe = all.probe({plugin}).front(); !probe.problem.empty())
            throw PluginError(probe.problem, probe.help);
        const Blame blame(fmt::format("{} plugin `{}`", plugin.kind, plugin.name), "while it is described",
                          plugin.file);
        const auto& descriptor = all.load(plugin);
        const auto fields = declared_fields(descriptor);
        if (request.json) {
            json one{{"kind", plugin.kind},          {"name", plugin.name},       {"summary", descriptor.summary},
                     {"file", plugin.file.string()}, {"build", descriptor.build}, {"fields", json::array()}};
            for (const auto& field : fields)
                one["fields"].push_back({{"key", field.key},
                                         {"type", field.type},
                                         {"default", field.default_value},
                                         {"accepts", field.accepts},
                                         {"doc", field.doc}});
            list.push_back(std::move(one));
            continue;
        }
        fmt::print("{} `{}`: {}\n", plugin.kind, plugin.name, descriptor.summary);
        std::size_t key_width = 0, value_width = 0, range_width = 0;
        const auto value = [](const DeclaredField& field) {
            return field.default_value.empty() ? std::string("(the default)") : field.default_value;
        };
        const auto range = [](const DeclaredField& field) {
            return field.accepts.empty() ? field.type : field.accepts;
        };
        for (const auto& field : fields) {
            key_width = std::max(key_width, field.key.size());
            value_width = std::max(value_width, std::min<std::size_t>(value(field).size(), 24));
            range_width = std::max(range_width, std::min<std::size_t>(range(field).size(), 24));
        }
        for (const auto& field : fields)
            fmt::print("  {} = {}  {}  {}\n", padded(field.key, key_width), padded(value(field), value_width),
                       padded(range(field), range_width), field.doc);
        fmt::print("\n[{}]\nuse = \"{}\"\n\n{}\n{}\n\n", plugin.kind, plugin.name, plugin.file.string(),
                   descriptor.build);
    }
    if (request.json) fmt::print("{}\n", list.dump(2));
    return done;
}

int plugins_path(const PluginsRequest& request) {
    for (const auto& folder : plugin_folders(request.folders))
        fmt::print("{}{}\n", folder.string(), fs::is_directory(folder) ? "" : "  (not there)");
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

}  // namespace dtk::cli
