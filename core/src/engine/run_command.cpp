// dtk run: an experiment in a folder of its own, begun or gone on with.
#include <sstream>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/files.hpp"
#include "base/json.hpp"
#include "base/words.hpp"
#include "engine/artefacts.hpp"
#include "engine/commands.hpp"
#include "engine/run_folder.hpp"
#include "engine/say.hpp"
#include "engine/stage_run.hpp"
#include "engine/stop.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

std::string shape_text(const Stage& stage) { return fmt::format("{}", fmt::join(stage.dataset().shape(), "×")); }

std::string summary(const Stage& stage) {
    const auto& spec = stage.spec();
    std::int64_t parameters = 0;
    for (const auto& p : stage.model().parameters()) parameters += p.numel();
    return fmt::format("data `{}` of shape {}, process `{}` of {} steps, model `{}` ({} parameters, predicts {})",
                       spec.part("dataset").name, shape_text(stage), spec.part("process").name, stage.process().steps(),
                       spec.part("model").name, parameters, name_of(stage.model().predicts()));
}

void refuse_changes(const std::string& then, const std::string& now, const fs::path& run,
                    std::optional<RunFolder>& folder) {
    if (then == now) return;
    std::istringstream a(then), b(now);
    std::string difference;
    for (std::string x, y; true;) {
        const bool more_a = static_cast<bool>(std::getline(a, x)), more_b = static_cast<bool>(std::getline(b, y));
        if (!more_a && !more_b) break;
        if (!more_a) x.clear();
        if (!more_b) y.clear();
        if (x != y) difference += fmt::format("\n  then: {}\n  now:  {}", x, y);
    }
    folder.reset();
    throw Mistaken(fmt::format("{} was run with another experiment:{}", run.string(), difference),
                   "go on with the experiment as it was, or start a fresh run");
}

int run_in(const RunRequest& request, Loaded& loaded, std::optional<RunFolder>& folder, json& result) {
    // A resumed run takes the seed that was drawn for it.
    auto overrides = request.overrides;
    std::optional<fs::path> resumed;
    if (request.resume) {
        Mistakes ignored;
        const auto root = read_toml(request.file, overrides.set, ignored);
        const auto name = root["name"].value_or(request.file.stem().string());
        resumed = *request.resume == "latest" ? latest_run(name) : fs::path(*request.resume);
        folder = RunFolder::existing(*resumed);
        const auto record = read_record_file(*resumed / "run.json");
        if (!overrides.seed && !root.contains("seed") && record.contains("seed"))
            overrides.seed = record["seed"].get<std::int64_t>();
    }
    read(loaded, request.file, overrides);
    if (!loaded.experiment.stages.empty()) check_stages(loaded);
    if (!loaded.mistakes.empty()) {
        folder.reset();
        return report(loaded.mistakes);
    }
    auto& experiment = loaded.experiment;
    say_notes(experiment);
    const auto resolved = experiment.resolved();
    if (request.dry_run) {
        folder.reset();
        fmt::print("{}", resolved);
        return done;
    }
    for (const auto& [name, path] : experiment.artefacts)
        if (!fs::is_directory(path))
            throw Mistaken(fmt::format("--artefact {}={} is not the folder of a run", name, path.string()),
                           "train it first: dtk run " + path.string());
    if (resumed)
        refuse_changes(read_file(*resumed / "resolved.toml"), resolved, *resumed, folder);
    else
        folder = RunFolder::fresh(experiment, request.out);

    folder->begin(experiment, loaded.device.str());
    watch_signals();
    Progress::note(fmt::format("run      {}\ndevice   {}, {} threads, seed {}", folder->path().string(),
                               loaded.device.str(), at::get_num_threads(), experiment.seed));

    const bool many = experiment.root->contains("stage");
    const auto stage_folder = [&](const std::string& name) { return many ? folder->path() / name : folder->path(); };
    for (auto& spec : experiment.stages) {
        const auto artefacts = [&](const std::string& name) {
            for (const auto& stage : experiment.stages)
                if (stage.name == name && many) return load_artefact(stage_folder(name));
            const auto given = experiment.artefacts.find(name);
            return load_artefact(given != experiment.artefacts.end() ? given->second : fs::path(name));
        };
        Stage stage(spec, experiment.seed, artefacts, true, loaded.mistakes);
        if (!loaded.mistakes.empty()) throw Error("the stage cannot be built:\n" + loaded.mistakes.text());
        Progress::note(many ? fmt::format("stage    {}: {}", spec.name, summary(stage)) : summary(stage));
        folder->reads(spec.name, stage.dataset().fingerprint());
        StageRun stage_run(stage, stage_folder(spec.name), experiment.resolved(spec), loaded.device, request.progress);
        auto one = stage_run.run(resumed.has_value());
        folder->took(stage_run.seconds());
        if (many)
            result[spec.name] = std::move(one);
        else
            result = std::move(one);
    }
    folder->finish("completed", result);
    say(fmt::format("\nrun      {}", folder->path().string()));
    return done;
}

}  // namespace

int run_experiment(const RunRequest& request) {
    std::optional<RunFolder> folder;
    json result = json::object();
    Loaded loaded;
    return guarded([&] { return run_in(request, loaded, folder, result); },
                   [&](const std::string& status, const std::string& error) {
                       if (!folder) return;
                       folder->finish(status, result, error);
                       if (status != "interrupted" && status != "failed") return;
                       std::vector<std::string> words{"dtk", "run", request.file.string()};
                       for (auto& word : request.overrides.words()) words.push_back(std::move(word));
                       words.push_back("--resume=" + folder->path().string());
                       Progress::note("go on with: " + shell_command(words));
                   });
}

}  // namespace dtk
