// dtk run: an experiment in a folder of its own, begun or gone on with.
#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/build.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/stop.hpp"
#include "base/threads.hpp"
#include "base/trust.hpp"
#include "base/words.hpp"
#include "engine/artefacts.hpp"
#include "engine/checkpoint.hpp"
#include "engine/commands.hpp"
#include "engine/going_on.hpp"
#include "engine/init.hpp"
#include "engine/measuring.hpp"
#include "engine/processes.hpp"
#include "engine/reduction.hpp"
#include "engine/run_folder.hpp"
#include "engine/say.hpp"
#include "engine/stage_run.hpp"

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

/// The run that is gone on with, held against others; nothing where one begins. It knows the seed that was drawn.
std::optional<RunFolder> held_run(const RunRequest& request, Overrides& overrides) {
    if (!request.resume) return std::nullopt;
    Diagnostics ignored;
    const auto root = read_toml(request.file, overrides.set, ignored);
    const auto path = named_run(request, root["name"].value_or(request.file.stem().string()));
    if (request.out && *request.resume == "latest" && !fs::exists(path / "run.json")) {
        Progress::note(fmt::format("there is no run in {} yet: it begins", path.string()));
        return std::nullopt;
    }
    auto run = RunFolder::existing(path);
    const auto& record = run.record();
    if (!overrides.seed && !root.contains("seed") && record.contains("seed"))
        overrides.seed = record["seed"].get<std::int64_t>();
    return run;
}

/// Refuses what several processes cannot train together. Errors: UserError.
void check_together(const Loaded& loaded, const Processes& processes) {
    if (!loaded.device.is_cpu())
        throw UserError(fmt::format("{} processes cannot train together on `{}`: this dtk was built without NCCL",
                                    processes.size(), loaded.experiment.device),
                        "start one process for a GPU, or use device = \"cpu\"");
    for (const auto& stage : loaded.experiment.stages)
        if (stage.train) batch_parts(*stage.train, &processes);
}

/// What must be the same in all processes for them to make the same steps, each with what to do about it.
json common_ground(const Experiment& experiment, const Stage& stage) {
    return {{"another experiment", {sha256(experiment.resolved(stage.spec())), "give all of them the same command"}},
            {"another dtk", {sha256_of_dtk() + std::string(torch_build_text()), "start the same program everywhere"}},
            {"other plugins", {sha256(plugin_records(experiment).dump()), "look at DTK_PLUGIN_PATH on each machine"}},
            {"other data", {stage.dataset().fingerprint(), "every process reads the data: give all the same files"}},
            {"other instructions of the processor",
             {at::get_cpu_capability(), "set ATEN_CPU_CAPABILITY=avx2, or default, for all of them"}}};
}

/// All of them as one: a number of threads that every one has, so that sums are cut alike.
void use_as_many_threads(Processes& processes) {
    const auto all = processes.gather(at::full({}, at::get_num_threads(), at::kLong));
    at::set_num_threads(static_cast<int>(all.min().item<std::int64_t>()));
}

/// Has nobody said how many threads there are to be?
bool chooses_threads(const Experiment& experiment) {
    return experiment.threads == 0 && threads_for(0).why != "OMP_NUM_THREADS";
}

/// A run of an experiment: its stages, each in its folder.
class ExperimentRun {
 public:
    /// `processes`: those that train together; null for this one alone.
    ExperimentRun(Loaded& loaded, fs::path folder, Processes* processes)
        : loaded_(loaded),
          folder_(std::move(folder)),
          many_(loaded.experiment.root->contains("stage")),
          processes_(processes) {}

    fs::path folder_of(const std::string& stage) const { return many_ ? folder_ / stage : folder_; }

    /// Where the network of that name is: an earlier stage's, one that the command line names, or a run's by its path.
    fs::path folder_of_network(const std::string& name) const {
        const auto& experiment = loaded_.experiment;
        for (const auto& stage : experiment.stages)
            if (stage.name == name && many_) return folder_of(name);
        const auto given = experiment.artefacts.find(name);
        return given != experiment.artefacts.end() ? given->second : fs::path(name);
    }

    /// How far each stage that keeps a network has come.
    std::map<std::string, Standing> standings() const {
        std::map<std::string, Standing> all;
        for (const auto& spec : loaded_.experiment.stages) {
            auto& standing = all[spec.name];
            standing.folder = folder_of(spec.name);
            std::string notes;
            standing.checkpoint = newest_checkpoint(standing.folder / "checkpoints", notes);
            if (!notes.empty()) Progress::note(notes);
            if (standing.checkpoint) standing.step = load_checkpoint(*standing.checkpoint).step;
        }
        return all;
    }

    /// Is there nothing left to train, to draw or to measure of a run whose record says that it is complete?
    bool is_whole(const std::map<std::string, Standing>& standings) const {
        const auto& stages = loaded_.experiment.stages;
        return std::all_of(stages.begin(), stages.end(), [&](const StageSpec& spec) {
            const auto& standing = standings.at(spec.name);
            const bool trained = !spec.train || standing.step == spec.train->steps;
            return trained && (!spec.sample || fs::is_regular_file(standing.folder / "samples.safetensors"));
        });
    }

    /// `result` is told of each stage as it ends.
    void run(RunFolder& record, bool resumed, const std::map<std::string, Standing>& standings, Progress::Mode progress,
             json& result) {
        auto& experiment = loaded_.experiment;
        for (auto& spec : experiment.stages) {
            end_if_asked("before the stage began");
            Stage stage(spec, experiment.seed, networks(), true, loaded_.mistakes);
            if (!loaded_.mistakes.empty()) throw Error("the stage cannot be built:\n" + loaded_.mistakes.text());
            Progress::note(many_ ? fmt::format("stage    {}: {}", spec.name, summary(stage)) : summary(stage));
            if (const auto classes = stage.classes(); classes.count > 0)
                Progress::note("classes  " + harmless(classes.text()));
            record.stands_on(spec.name, stage.trained_networks());
            StageRun::From from{.resumed = resumed, .chooses_threads = chooses_threads(experiment)};
            if (const auto standing = standings.find(spec.name); standing != standings.end())
                from.checkpoint = standing->second.checkpoint;
            if (spec.init && !from.checkpoint) {
                from.init = init_checkpoint(folder_of_network(spec.init->run.name()));
                record.begins_as(spec.name, sha256_of_file(*from.init));
            }
            if (processes_) {
                const auto path = [](const auto& file) { return file ? file->string() : std::string(); };
                processes_->told(json{{"same", common_ground(experiment, stage)},
                                      {"checkpoint", path(from.checkpoint)},
                                      {"init", path(from.init)},
                                      {"chooses_threads", from.chooses_threads}}
                                     .dump());
                use_as_many_threads(*processes_);  // networks of other stages may have asked for others
            }
            StageRun stage_run(stage, folder_of(spec.name), experiment.resolved(spec), loaded_.device, progress,
                               processes_);
            auto one = stage_run.run(from);
            if (processes_) processes_->wait();
            record.took(stage_run.seconds());
            if (many_)
                result[spec.name] = std::move(one);
            else
                result = std::move(one);
        }
    }

    /// The same for a process that does not lead.
    void help() {
        auto& experiment = loaded_.experiment;
        for (auto& spec : experiment.stages) {
            const auto plan = json::parse(processes_->told({}));
            Stage stage(spec, experiment.seed, networks(), true, loaded_.mistakes);
            if (!loaded_.mistakes.empty()) throw Error("the stage cannot be built:\n" + loaded_.mistakes.text());
            const auto own = common_ground(experiment, stage);
            for (const auto& [what, of_leader] : plan["same"].items())
                if (of_leader[0] != own[what][0])
                    throw UserError(fmt::format("it has {} than process 0", what), own[what][1].get<std::string>());
            const auto path = [&](const char* key) {
                const auto file = plan[key].get<std::string>();
                return file.empty() ? std::nullopt : std::optional<fs::path>(file);
            };
            use_as_many_threads(*processes_);
            StageRun(stage, folder_of(spec.name), experiment.resolved(spec), loaded_.device, Progress::Mode::none,
                     processes_)
                .help({.checkpoint = path("checkpoint"),
                       .init = path("init"),
                       .chooses_threads = plan["chooses_threads"].get<bool>()});
            processes_->wait();
        }
    }

 private:
    Stage::Trained networks() const {
        return [this](const std::string& name) { return load_artefact(folder_of_network(name)); };
    }

    Loaded& loaded_;
    fs::path folder_;
    bool many_;
    Processes* processes_;
};

/// What process 0 has settled, for the others.
json settled(const Experiment& experiment, const fs::path& folder) {
    return {{"seed", experiment.seed}, {"folder", folder.string()}};
}

int help_in(const RunRequest& request, Loaded& loaded, Processes& processes) {
    const auto plan = json::parse(processes.told({}));
    auto overrides = request.overrides;
    overrides.seed = plan["seed"].get<std::int64_t>();
    read(loaded, request.file, overrides);
    if (!loaded.mistakes.empty()) throw UserError("the experiment cannot be read here:\n" + loaded.mistakes.text());
    use_as_many_threads(processes);
    ExperimentRun(loaded, plan["folder"].get<std::string>(), &processes).help();
    return done;
}

int run_in(const RunRequest& request, Loaded& loaded, std::optional<RunFolder>& folder, json& result,
           Processes* processes) {
    auto overrides = request.overrides;
    auto held = held_run(request, overrides);
    const bool resumed = held.has_value();
    read(loaded, request.file, overrides);
    std::map<std::string, std::shared_ptr<Stage>> stages;
    if (!loaded.experiment.stages.empty()) stages = check_stages(loaded, !resumed);
    if (!loaded.mistakes.empty()) return report(loaded.mistakes);
    auto& experiment = loaded.experiment;
    say_notes(experiment);
    if (request.dry_run) {
        fmt::print("{}", experiment.resolved());
        return done;
    }
    for (const auto& [name, path] : experiment.artefacts)
        if (!fs::is_directory(path))
            throw UserError(fmt::format("--artefact {}={} is not the folder of a run", name, path.string()),
                            "train it first: dtk run " + path.string());
    if (processes) check_together(loaded, *processes);
    end_if_asked("before it began");

    std::map<std::string, Standing> standings;
    if (resumed) {
        const ExperimentRun run(loaded, held->path(), processes);
        standings = run.standings();
        auto going = go_on(*held, loaded, stages, standings, request.overrides.set, request.accept_changed);
        for (const auto& note : going.notes) Progress::note("changed  " + note);
        if (going.only_idle && held->record().value("status", "") == "completed" && run.is_whole(standings)) {
            Progress::note(fmt::format("{} is complete: nothing is left to do", held->path().string()));
            say(fmt::format("\nrun      {}", held->path().string()));
            return done;
        }
        held->change(std::move(going.entry));
    }
    folder = resumed ? std::move(*held) : RunFolder::fresh(experiment, request.out);
    for (const auto& [name, stage] : stages) {
        folder->reads(name, stage->dataset().fingerprint());
        folder->divides(name, stage->classes());
    }
    stages.clear();  // what was built to be looked at
    if (processes) {
        processes->told(settled(experiment, folder->path()).dump());
        use_as_many_threads(*processes);
    }
    folder->trained_by(processes ? processes->size() : 1);
    folder->begin(experiment, loaded.device.str());
    const auto threads = threads_for(experiment.threads);
    Progress::note(fmt::format("run      {}\ndevice   {}, {}{} threads{}, seed {}", folder->path().string(),
                               loaded.device.str(), processes ? fmt::format("{} processes of ", processes->size()) : "",
                               at::get_num_threads(), threads.why.empty() ? "" : " (" + threads.why + ")",
                               experiment.seed));
    ExperimentRun(loaded, folder->path(), processes).run(*folder, resumed, standings, request.progress, result);
    folder->finish("completed", result);
    if (experiment.root->contains("stage")) say_beside(experiment, result);
    say(fmt::format("\nrun      {}", folder->path().string()));
    return done;
}

/// The command that goes on with a run, as it can be pasted.
std::string command_to_go_on(const RunRequest& request, const fs::path& run) {
    std::vector<std::string> words{"dtk", "run", request.file.string()};
    for (auto& word : request.overrides.words()) words.push_back(std::move(word));
    for (const auto& folder : trusted()) words.insert(words.end(), {"--trust", folder.string()});
    if (request.accept_changed) words.emplace_back("--accept-changed");
    words.push_back("--resume=" + run.string());
    return shell_command(words);
}

}  // namespace

int run_experiment(const RunRequest& request) {
    std::optional<RunFolder> folder;
    Loaded loaded;
    json result = json::object();
    Processes* processes = nullptr;
    std::string said;
    const auto work = [&] {
        watch_signals();
        processes = Processes::meet(request.out ? fs::absolute(*request.out).parent_path() : fs::absolute("runs"));
        try {
            return processes && !processes->leads() ? help_in(request, loaded, *processes)
                                                    : run_in(request, loaded, folder, result, processes);
        } catch (const Interrupted& stopped) {
            if (processes && !processes->leads()) {
                said = stopped.what();  // process 0 says it
                return stop_code();
            }
            if (processes) processes->check();  // one that has ended asks the others to stop
            throw;
        }
    };
    const int code = guarded(
        [&] {
            try {
                return work();
            } catch (const LeaderDone& end) {
                return end.code;
            }
        },
        [&](const std::string& status, const std::string& error) {
            said = error;
            if (!folder) return;
            folder->finish(status, result, error);
            Progress::note(fmt::format("{}go on with: {}", status == "failed" ? "once that is mended, " : "",
                                       command_to_go_on(request, folder->path())));
        });
    if (processes) processes->leave(code, said);
    return code;
}

}  // namespace dtk
