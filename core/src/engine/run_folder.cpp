#include "engine/run_folder.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <map>
#include <thread>

#include <ATen/Parallel.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/build.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/threads.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {
std::string cpu_name() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return {};
}

json host() {
    utsname name{};
    ::uname(&name);
    return {{"name", name.nodename},
            {"os", fmt::format("{} {}", name.sysname, name.release)},
            {"cpu", cpu_name()},
            {"cores", std::thread::hardware_concurrency()}};
}

void use_plugins(const StageSpec& stage, bool trained_with, std::map<std::string, const PluginFile*>& used) {
    for (const auto& part : stage_parts) {
        const bool afterwards = part.when == StagePart::When::sampling || std::string_view(part.kind) == "metric";
        if (trained_with && afterwards) continue;
        for (const auto& spec : stage.list(part.kind))
            if (spec) used.emplace(spec.kind + " " + spec.name, spec.file);
    }
    for (const auto* nested : trained_with ? stage.trained_with : stage.reading->chosen)
        used.emplace(nested->kind + " " + nested->name, nested);
}

constexpr const char* lease_name = "run.lease";

/// A folder may be begun in where nothing stands that a run would lose: what was written before its run.json was does
/// not count.
void refuse_full(const fs::path& folder) {
    std::error_code error;
    if (!fs::is_directory(folder, error))
        throw UserError(fmt::format("{} is no folder", folder.string()), "give another --out");
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const auto name = entry.path().filename().string();
        if (name == lease_name || name == "experiment.toml" || name == "resolved.toml" || is_temporary(entry.path()))
            continue;
        throw UserError(fmt::format("{} is there already and is not empty", folder.string()),
                        "a run never overwrites: give another --out, or go on in it with --resume");
    }
    if (error) throw UserError(fmt::format("{} cannot be read: {}", folder.string(), error.message()));
}
}  // namespace

RunFolder RunFolder::taken(const fs::path& path) {
    const auto file = path / lease_name;
    if (auto lease = Lease::take(file)) return RunFolder(path, std::move(*lease));
    throw UserError(fmt::format("{} is at work in {}", Lease::holder(file), path.string()),
                    fmt::format("wait for it; what has died without a word is taken over after {} seconds",
                                std::lround(lease_seconds())));
}

RunFolder RunFolder::fresh(const Experiment& experiment, const std::optional<fs::path>& out) {
    std::error_code error;
    if (out) {
        fs::create_directories(*out, error);
        if (error) throw UserError(fmt::format("cannot make the folder {}: {}", out->string(), error.message()));
        refuse_full(*out);
        auto folder = taken(fs::canonical(*out));
        refuse_full(*out);  // somebody may have been faster, and be done
        return folder;
    }
    const auto parent = fs::absolute("runs") / experiment.name;
    fs::create_directories(parent, error);
    if (error)
        throw UserError(fmt::format("cannot make the folder {}: {}", parent.string(), error.message()),
                        "run where you may write, or give --out");
    const auto stamp = time_stamp();
    for (int n = 1;; ++n) {
        const auto path = parent / (n == 1 ? stamp : fmt::format("{}-{}", stamp, n));
        if (!fs::create_directory(path, error)) {
            if (error) throw UserError(fmt::format("cannot make the folder {}: {}", path.string(), error.message()));
            continue;
        }
        auto folder = taken(path);
        folder.under_runs_ = true;
        return folder;
    }
}

void RunFolder::make_latest() const {
    std::error_code ignored;
    const auto link = path_.parent_path() / "latest", fresh = temporary_beside(link);
    fs::create_directory_symlink(path_.filename(), fresh, ignored);
    fs::rename(fresh, link, ignored);
}

RunFolder RunFolder::existing(const fs::path& path) {
    std::error_code error;
    if (!fs::exists(path / "run.json", error))
        throw UserError(
            fs::exists(path / "experiment.toml", error)
                ? fmt::format("the run in {} ended before it had begun: there is nothing to go on with", path.string())
                : fmt::format("{} is not the folder of a run", path.string()),
            fs::exists(path / "experiment.toml", error) ? fmt::format("begin it there with --out {}", path.string())
                                                        : "a run's folder holds run.json");
    read_record_file(path / "run.json");
    auto folder = taken(fs::canonical(path));
    folder.record_ = read_record_file(folder.path_ / "run.json");  // as the one who had it until now left it
    if (folder.record_.contains("changing")) folder.take_back_what_was_not_made();
    folder.was_completed_ = folder.record_.value("status", "") == "completed";
    return folder;
}

std::string time_stamp() {
    const auto now = std::time(nullptr);
    std::tm here{};
    ::localtime_r(&now, &here);
    return fmt::format("{:%Y%m%d-%H%M%S}", here);
}

fs::path named_run(const RunRequest& request, const std::string& name) {
    const bool named = request.resume && *request.resume != "latest";
    if (request.out && named && fs::weakly_canonical(*request.out) != fs::weakly_canonical(*request.resume))
        throw UserError(
            fmt::format("--resume={} and --out {} name two folders", *request.resume, request.out->string()),
            "name one: --out DIR --resume goes on in DIR, or begins there where no run is yet");
    return request.out ? *request.out : named ? fs::path(*request.resume) : latest_run(name);
}

fs::path latest_run(const std::string& name) {
    const auto link = fs::absolute("runs") / name / "latest";
    std::error_code error;
    if (!fs::exists(link, error))
        throw UserError(fmt::format("there is no run of `{}` under {}", name, fs::absolute("runs").string()),
                        "name the run's folder: --resume=RUN");
    return fs::canonical(link);
}

std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

json plugin_records(const Experiment& experiment, bool trained_with) {
    std::map<std::string, const PluginFile*> used;
    for (const auto& stage : experiment.stages) use_plugins(stage, trained_with, used);
    json plugins = json::array();
    for (const auto& [name, file] : used) {
        json one{{"kind", file->kind},
                 {"name", file->name},
                 {"path", file->file.string()},
                 {"sha256", sha256_of_file(file->file)},
                 {"build_id", file->build_id}};
        for (const auto& shadowed : file->shadowed) one["shadows"].push_back(shadowed.string());
        plugins.push_back(std::move(one));
    }
    return plugins;
}

void RunFolder::change(json entry) {
    if (!entry["changes"].empty() && was_completed_) {
        if (record_.contains("result")) entry["result"] = record_["result"];
        record_.erase("result");
        was_completed_ = false;
    }
    auto& history = record_["history"];
    const auto same = [&](const char* key) { return history.back()[key] == entry[key]; };
    if (!history.empty() && same("from") && same("changes")) return;  // ended before it came any further
    if (!entry["changes"].empty()) record_["changing"] = true;
    history.push_back(std::move(entry));
}

void RunFolder::take_back_what_was_not_made() {
    record_.erase("changing");
    std::error_code error;
    const auto resolved = path_ / "resolved.toml";
    auto& history = record_["history"];
    if (history.empty() || !fs::exists(resolved, error) || sha256_of_file(resolved) == record_.value("config_hash", ""))
        return;
    auto& last = history.back();
    // Other data and other plugins are there all the same.
    json there = json::array();
    for (const auto& change : last["changes"])
        if (const auto key = change.value("key", "");
            key == "data" || key.starts_with("data of ") || key.starts_with("plugin "))
            there.push_back(change);
    last["changes"] = there;
    if (!there.empty()) return;
    if (last.contains("result")) record_["result"] = last["result"], record_["status"] = "completed";
    history.erase(history.size() - 1);
}

void RunFolder::begin(const Experiment& experiment, const std::string& device) {
    remove_temporaries(path_);
    const auto resolved = experiment.resolved();
    if (!record_.contains("schema"))
        record_.update({{"schema", 1},
                        {"id", path_.filename().string()},
                        {"name", experiment.name},
                        {"start_time", utc_now()},
                        {"cwd", fs::current_path().string()}});
    if (!was_completed_) record_["status"] = "running";
    record_["pid"] = ::getpid();
    record_["seed"] = experiment.seed;
    record_["config_hash"] = sha256(resolved);
    record_["dtk"] = {
        {"version", std::string(version())}, {"build", std::string(torch_build_text())}, {"sha256", sha256_of_dtk()}};
    record_["host"] = host();
    record_["device"] = device;
    record_["threads"] = at::get_num_threads();
    record_["threads_by"] = threads_for(experiment.threads).why;
    record_["plugins"] = plugin_records(experiment);
    for (const auto& [name, path] : experiment.artefacts) record_["artefacts"][name] = path.string();
    // A change is on record before it is made.
    const bool there = fs::exists(path_ / "run.json");
    if (there && !was_completed_) write();
    write_atomically(path_ / "experiment.toml", experiment.text);
    write_atomically(path_ / "resolved.toml", resolved);
    record_.erase("changing");
    if (!there) write();
    if (under_runs_) make_latest();
}

void RunFolder::reads(const std::string& stage, const std::string& fingerprint) {
    if (!fingerprint.empty()) record_["data"][stage.empty() ? "sha256" : stage] = fingerprint;
}

void RunFolder::divides(const std::string& stage, const Classes& classes) {
    if (classes.count > 0) record_["classes"][stage.empty() ? "data" : stage] = classes.to_json();
}

void RunFolder::begins_as(const std::string& stage, const std::string& sha256) {
    record_["init"][stage.empty() ? "sha256" : stage] = sha256;
    if (!was_completed_) write();
}

void RunFolder::stands_on(const std::string& stage, const std::map<std::string, TrainedNetwork>& networks) {
    for (const auto& [name, network] : networks) record_["networks"][stage][name] = network.sha256;
    if (!networks.empty() && !was_completed_) write();
}

void RunFolder::took(const json& seconds) {
    auto& all = record_["seconds"];
    if (!all.is_object()) all = json::object();
    for (const auto& [what, value] : seconds.items()) all[what] = all.value(what, 0.0) + value.get<double>();
}

void RunFolder::finish(const std::string& status, const json& result, const std::string& error) {
    if (was_completed_ && status != "completed") return;
    record_["status"] = status;
    record_["stop_time"] = utc_now();
    if (!result.is_null()) record_["result"] = result;
    if (!error.empty())
        record_["error"] = error;
    else
        record_.erase("error");
    write();
}

void RunFolder::write() const {
    write_atomically(path_ / "run.json", record_.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace dtk
