#include "engine/run_folder.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <map>
#include <thread>

#include <ATen/Parallel.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/build.hpp"
#include "base/engine.hpp"
#include "base/files.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {
std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

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

void use_plugins(const StageSpec& stage, std::map<std::string, const PluginFile*>& used) {
    const auto add = [&](const PluginSpec& spec) {
        if (spec) used.emplace(spec.kind + " " + spec.name, spec.file);
    };
    for (const auto& part : stage_parts)
        for (const auto& spec : stage.list(part.kind)) add(spec);
    for (const auto* nested : stage.reading->chosen) used.emplace(nested->kind + " " + nested->name, nested);
}
}  // namespace

RunFolder RunFolder::fresh(const Experiment& experiment, const std::optional<fs::path>& out) {
    std::error_code error;
    if (out) {
        if (fs::exists(*out) && !fs::is_empty(*out, error))
            throw Mistaken(fmt::format("{} is there already and is not empty", out->string()),
                           "a run never overwrites: give another --out, or go on in it with --resume");
        fs::create_directories(*out, error);
        if (error) throw Mistaken(fmt::format("cannot make the folder {}: {}", out->string(), error.message()));
        return RunFolder(fs::absolute(*out));
    }
    const auto parent = fs::absolute("runs") / experiment.name;
    fs::create_directories(parent, error);
    if (error)
        throw Mistaken(fmt::format("cannot make the folder {}: {}", parent.string(), error.message()),
                       "run where you may write, or give --out");
    const auto stamp = time_stamp();
    for (int n = 1;; ++n) {
        const auto path = parent / (n == 1 ? stamp : fmt::format("{}-{}", stamp, n));
        if (!fs::create_directory(path, error)) {
            if (error) throw Mistaken(fmt::format("cannot make the folder {}: {}", path.string(), error.message()));
            continue;
        }
        const auto link = parent / "latest";
        fs::remove(link, error);
        fs::create_directory_symlink(path.filename(), link, error);
        return RunFolder(path);
    }
}

RunFolder RunFolder::existing(const fs::path& path) {
    if (!fs::exists(path / "run.json"))
        throw Mistaken(fmt::format("{} is not the folder of a run", path.string()), "a run's folder holds run.json");
    RunFolder folder(fs::canonical(path));
    folder.record_ = json::parse(read_file(path / "run.json"), nullptr, false);
    if (!folder.record_.is_object()) throw Mistaken(fmt::format("{} is damaged", (path / "run.json").string()));
    return folder;
}

std::string time_stamp() {
    const auto now = std::time(nullptr);
    std::tm here{};
    ::localtime_r(&now, &here);
    return fmt::format("{:%Y%m%d-%H%M%S}", here);
}

fs::path latest_run(const std::string& name) {
    const auto link = fs::absolute("runs") / name / "latest";
    std::error_code error;
    if (!fs::exists(link, error))
        throw Mistaken(fmt::format("there is no run of `{}` under {}", name, fs::absolute("runs").string()),
                       "name the run's folder: --resume=RUN");
    return fs::canonical(link);
}

void RunFolder::begin(const Experiment& experiment, const std::string& device) {
    remove_temporaries(path_);
    std::map<std::string, const PluginFile*> used;
    for (const auto& stage : experiment.stages) use_plugins(stage, used);
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
    const auto resolved = experiment.resolved();
    if (!record_.is_object() || record_.empty())
        record_ = {{"schema", 1},
                   {"id", path_.filename().string()},
                   {"name", experiment.name},
                   {"start_time", utc_now()},
                   {"cwd", fs::current_path().string()}};
    record_["status"] = "running";
    record_["pid"] = ::getpid();
    record_["seed"] = experiment.seed;
    record_["config_hash"] = sha256(resolved);
    record_["dtk"] = {
        {"version", std::string(version())}, {"build", std::string(torch_build_text())}, {"sha256", sha256_of_dtk()}};
    record_["host"] = host();
    record_["device"] = device;
    record_["threads"] = at::get_num_threads();
    record_["plugins"] = plugins;
    for (const auto& [name, path] : experiment.artefacts) record_["artefacts"][name] = path.string();
    write_atomically(path_ / "experiment.toml", experiment.text);
    write_atomically(path_ / "resolved.toml", resolved);
    write();
}

void RunFolder::reads(const std::string& stage, const std::string& fingerprint) {
    if (!fingerprint.empty()) record_["data"][stage.empty() ? "sha256" : stage] = fingerprint;
}

void RunFolder::took(const json& seconds) {
    auto& all = record_["seconds"];
    if (!all.is_object()) all = json::object();
    for (const auto& [what, value] : seconds.items()) all[what] = all.value(what, 0.0) + value.get<double>();
}

void RunFolder::finish(const std::string& status, const json& result, const std::string& error) {
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
