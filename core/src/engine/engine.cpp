#include "base/engine.hpp"

#include <atomic>
#include <cmath>
#include <csignal>
#include <ctime>
#include <sstream>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <dtk/schedule.hpp>

#include "base/blame.hpp"
#include "base/chart.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/words.hpp"
#include "engine/device.hpp"
#include "engine/run_folder.hpp"
#include "engine/safetensors.hpp"
#include "engine/sampling.hpp"
#include "engine/trainer.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

std::atomic<int> signals_seen{0};

/// The first SIGINT or SIGTERM asks the run to finish its step; the second ends it as usual.
void on_signal(int number) {
    if (signals_seen.fetch_add(1) > 0) {
        std::signal(number, SIG_DFL);
        std::raise(number);
    }
}

/// A line of results. Where nobody reads them any more (`| head`) the run goes on all the same.
void say(const std::string& line) {
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
    std::fflush(stdout);
}

/// What was dropped of the file, on standard error.
void say_notes(const Experiment& experiment) {
    for (const auto& note : experiment.notes) Progress::note("note: " + harmless(note));
}

/// Prints what is wrong; the exit code.
int report(const Mistakes& mistakes) {
    fmt::print(stderr, "{}", mistakes.text());
    if (mistakes.count() > 1) fmt::print(stderr, "{} mistakes\n", mistakes.count());
    return mistakes.exit_code();
}

/// An experiment read from its file, its stages built.
struct Loaded {
    std::unique_ptr<Registry> registry;
    Experiment experiment;
    Mistakes mistakes;
    at::Device device = at::kCPU;
};

/// Reads the experiment and settles device and threads. What is wrong is in `mistakes`.
void read(Loaded& loaded, const fs::path& file, const Overrides& overrides) {
    loaded.experiment = read_experiment(file, overrides, loaded.registry, loaded.mistakes);
    if (loaded.experiment.stages.empty()) return;
    try {
        loaded.device = device_of(loaded.experiment.device);
    } catch (const Error& error) {
        loaded.mistakes.add(loaded.experiment.device_place, error.what(), error.help());
    }
    use_threads(loaded.experiment.threads);
}

/// Where the run or stage in `folder` has the network that it calls so: an earlier stage, one it was given, or a folder
/// by its path.
fs::path folder_of_artefact(const fs::path& folder, const std::string& name) {
    const auto here = fs::absolute(folder).lexically_normal();
    for (const auto& run : {here, (here / "..").lexically_normal()}) {
        if (fs::exists(run / name / "stage.toml")) return run / name;
        if (!fs::exists(run / "run.json")) continue;
        const auto record = read_record_file(run / "run.json");
        if (record.contains("artefacts") && record["artefacts"].contains(name))
            return record["artefacts"][name].get<std::string>();
    }
    return name;
}

/// A trained network by the folder of the run or stage that made it.
TrainedNetwork load_artefact(const fs::path& folder) {
    std::string notes;
    const auto path = newest_checkpoint(folder / "checkpoints", notes);
    if (!path)
        throw Error(fmt::format("{} holds no checkpoint", folder.string()),
                    "name an earlier stage of this file, or the folder of a run that has trained");
    const auto checkpoint = load_checkpoint(*path);
    const auto source = folder / "stage.toml";
    auto& loaded = *new Loaded;  // plugins live until exit, and so does what they were built from
    read(loaded, source, {});
    Mistakes mistakes;
    std::unique_ptr<Stage> stage;
    if (loaded.mistakes.empty()) {
        const auto artefacts = [&](const std::string& name) { return load_artefact(folder_of_artefact(folder, name)); };
        stage = std::make_unique<Stage>(loaded.experiment.stages.front(), loaded.experiment.seed, artefacts, true,
                                        mistakes);
    }
    if (!stage || !mistakes.empty())
        throw Mistaken(
            fmt::format("{} cannot be built again:\n{}{}", folder.string(), loaded.mistakes.text(), mistakes.text()));
    restore(*stage, checkpoint, average_of(*stage, checkpoint, ""), path->string());
    stage->train(false);
    for (const auto& [kind, module] : stage->modules()) module->freeze();
    const auto& kept = *stage.release();  // its plugins may look at one another for as long as the network is asked
    return {kept.part<Model>(), kept.part<Process>(), sha256_of_file(*path)};
}

std::map<std::string, std::shared_ptr<Stage>> check_stages(Loaded& loaded);

/// The network that an experiment would train, as it is before; it may itself stand on others of those that were named.
TrainedNetwork untrained_artefact(const fs::path& file, const std::map<std::string, fs::path>& named) {
    static auto& known = *new std::map<fs::path, TrainedNetwork>;
    if (const auto found = known.find(file); found != known.end()) return found->second;
    auto& loaded = *new Loaded;  // plugins live until exit, and so does what they were built from
    Overrides overrides;
    for (const auto& [name, path] : named)
        if (path != file) overrides.artefacts.push_back(name + "=" + path.string());
    read(loaded, file, overrides);
    std::map<std::string, std::shared_ptr<Stage>> stages;
    if (!loaded.experiment.stages.empty()) stages = check_stages(loaded);
    if (!loaded.mistakes.empty())
        throw Mistaken(fmt::format("{} is not in order:\n{}", file.string(), loaded.mistakes.text()));
    const auto& stage = *stages.at(loaded.experiment.stages.back().name);
    return known[file] = {stage.part<Model>(), stage.part<Process>(), {}};
}

/// Every stage, built as far as it can be.
std::map<std::string, std::shared_ptr<Stage>> check_stages(Loaded& loaded) {
    std::map<std::string, std::shared_ptr<Stage>> earlier;
    for (auto& spec : loaded.experiment.stages) {
        const auto artefacts = [&](const std::string& name) -> TrainedNetwork {
            if (const auto found = earlier.find(name); found != earlier.end())
                return {found->second->part<Model>(), found->second->part<Process>(), {}};
            const auto given = loaded.experiment.artefacts.find(name);
            const auto path = given != loaded.experiment.artefacts.end() ? given->second : fs::path(name);
            if (fs::is_directory(path)) return load_artefact(path);
            if (given != loaded.experiment.artefacts.end())
                return untrained_artefact(path, loaded.experiment.artefacts);
            throw Error(fmt::format("`{}` is neither an earlier stage of this file nor the folder of a run", name),
                        fmt::format("or say where it is: --artefact {}=RUN", name));
        };
        earlier[spec.name] = std::make_shared<Stage>(spec, loaded.experiment.seed, artefacts, false, loaded.mistakes);
    }
    return earlier;
}

std::string shape_text(const Stage& stage) { return fmt::format("{}", fmt::join(stage.dataset().shape(), "×")); }

std::string summary(const Stage& stage) {
    const auto& spec = stage.spec();
    std::int64_t parameters = 0;
    for (const auto& p : stage.model().parameters()) parameters += p.numel();
    return fmt::format("data `{}` of shape {}, process `{}` of {} steps, model `{}` ({} parameters, predicts {})",
                       spec.part("dataset").name, shape_text(stage), spec.part("process").name, stage.process().steps(),
                       spec.part("model").name, parameters, name_of(stage.model().predicts()));
}

/// One stage while it runs: where it writes, what it has measured.
class StageRun {
 public:
    StageRun(Stage& stage, fs::path folder, std::string text, at::Device device, Progress::Mode progress)
        : stage_(stage), folder_(std::move(folder)), text_(std::move(text)), device_(device), progress_(progress) {}

    json run(bool resume) {
        fs::create_directories(folder_);
        remove_temporaries(folder_);
        write_atomically(folder_ / "stage.toml", text_);
        stage_.to(device_);
        if (stage_.spec().train) timed("train", [&] { train_(resume); });
        return evaluate();
    }

    /// Of training, sampling and measuring.
    const json& seconds() const { return seconds_; }

    /// Draws samples where the stage has [sample], measures all that is to be measured, and writes both.
    json evaluate() {
        stage_.train(false);
        Tensor samples, start;
        KeptTrajectory trajectory;
        json result = json::object();
        if (const auto& settings = stage_.spec().sample) {
            timed("sample", [&] {
                auto drawn = draw_samples(stage_, *settings, device_, progress_);
                samples = drawn.samples;
                start = drawn.start;
                trajectory = std::move(drawn.trajectory);
                result["network_evaluations"] = drawn.evaluations;
            });
            save_safetensors(
                folder_ / "samples.safetensors",
                {{{"samples", samples}}, {{"seed", std::to_string(stage_.seed())}, {"experiment", text_}}});
            picture("samples", samples);
            if (settings->invert)
                save_safetensors(folder_ / "start.safetensors", {{{"start", start}}, {{"experiment", text_}}});
            if (!trajectory.empty()) picture_of_trajectory(trajectory);
            result["samples"] = samples.size(0);
            if (!at::isfinite(samples).all().item<bool>())
                throw Error(
                    fmt::format("{} of {} samples are not finite",
                                (~at::isfinite(samples.flatten(1)).all(1)).sum().item<std::int64_t>(), samples.size(0)),
                    "train longer, lower the learning rate, or give the sampler more steps");
        }
        std::int64_t parameters = 0;
        for (const auto& p : stage_.model().parameters()) parameters += p.numel();
        result["parameters"] = parameters;
        if (!stage_.list<Metric>().empty())
            timed("measure", [&] { result["metrics"] = measure(samples, start, result); });
        return result;
    }

 private:
    void train_(bool resume) {
        const auto checkpoints = folder_ / "checkpoints";
        fs::create_directories(checkpoints);
        remove_temporaries(checkpoints);
        Trainer trainer(stage_, device_);
        const auto steps = stage_.spec().train->steps;
        if (resume) {
            std::string notes;
            if (const auto path = newest_checkpoint(checkpoints, notes)) {
                const auto from = load_checkpoint(*path);
                restore(stage_, from, nullptr, path->string());
                trainer.restore(from);
            }
            if (!notes.empty()) Progress::note(notes);
            Progress::note(fmt::format("going on after step {} of {}", trainer.step(), steps));
        }
        if (trainer.step() < steps) {
            trainer.run(
                text_, progress_,
                {.metrics = [&](auto step, const auto& values, const auto& by_noise) { log(step, values, by_noise); },
                 .save = [&](const auto& checkpoint) { save(checkpoint); },
                 .sample = [&](auto step) { picture_at(step); },
                 .stop = [] { return signals_seen.load() > 0; }});
            curves();
        }
        use_average(trainer);
    }

    /// What is sampled and measured: the average that [sample] names.
    void use_average(Trainer& trainer) {
        at::NoGradGuard no_grad;
        const auto& sample = stage_.spec().sample;
        const Checkpoint held{.averages = trainer.averages().state()};
        const auto* average = average_of(stage_, held, sample ? sample->average : "");
        if (!average) return;
        for (auto& named : stage_.named_tensors())
            if (const auto found = average->find(named.name); found != average->end())
                named.tensor->copy_(found->second);
    }

    template <class Work>
    void timed(const char* what, Work work) {
        const double began = monotonic_seconds();
        work();
        seconds_[what] = monotonic_seconds() - began;
    }

    /// What every metric says, each with its card. `result`: what is known of the samples.
    json measure(const Tensor& samples, const Tensor& start, const json& result) const {
        json all = json::array();
        const auto& settings = stage_.spec().sample;
        DenoiserOptions asked;
        if (!settings || settings->clip) asked.clip = stage_.space().range;
        EvaluationInput input{samples, stage_.dataset(), stage_.process(), stage_.denoiser(asked), device_, start};
        input.observation = stage_.part<Observation>().get();
        const auto metrics = stage_.list<Metric>();
        say(fmt::format("\n{:<22}{:>12}  {:>24}   {}", "metric", "value", "true samples ± sd", "verdict"));
        for (std::size_t i = 0; i < metrics.size(); ++i) {
            const auto& spec = stage_.spec().list("metric")[i];
            std::optional<Progress> progress;
            input.progress = [&](std::int64_t done, std::int64_t of) {
                if (!progress) progress.emplace(spec.label, of, Progress::Settings{.mode = progress_, .start = done});
                progress->at(done);
            };
            // By the plugin and not by its own name: the same metric asks the same way under any.
            const auto m = metrics[i]->evaluate(input, stage_.random("metric").stream(spec.name));
            if (progress) progress->finish();
            print_result(spec.label, m);
            all.push_back(record_of(spec, m));
            auto& card = all.back()["card"] = card_of(spec, m);
            if (samples.defined()) card["evaluations"] = result["network_evaluations"];
        }
        return all;
    }

    static void print_result(const std::string& name, const MetricResult& m) {
        const auto passes = m.passes();
        say(fmt::format("{:<22}{:>12.6g}  {:>24}   {}{}", name, m.value,
                        m.expected             ? fmt::format("{:.6g} ± {:<6.2g}", *m.expected, m.expected_sd)
                        : m.standard_error > 0 ? fmt::format("(± {:.2g})", m.standard_error)
                                               : "",
                        !passes   ? ""
                        : *passes ? "as true samples"
                                  : "off",
                        m.note.empty() ? "" : "  (" + m.note + ")"));
        for (const auto& [part, value] : m.parts) say(fmt::format("  {:<20}{:>12.6g}", part, value));
    }

    static json record_of(const PluginSpec& spec, const MetricResult& m) {
        json record{{"metric", spec.label},          {"plugin", spec.name},
                    {"value", json_number(m.value)}, {"better", std::string(name_of(m.card.better))},
                    {"unit", m.card.unit},           {"note", m.note}};
        if (m.standard_error > 0) record["standard_error"] = json_number(m.standard_error);
        if (m.expected) record["expected"] = json_number(*m.expected);
        if (m.expected) record["expected_sd"] = json_number(m.expected_sd);
        if (const auto passes = m.passes()) record["passes"] = *passes;
        for (const auto& [part, value] : m.parts) record["parts"][part] = json_number(value);
        return record;
    }

    /// Under what conditions the number was found: numbers with different cards do not compare.
    json card_of(const PluginSpec& spec, const MetricResult& m) const {
        const auto& settings = stage_.spec().sample;
        const auto& averages = stage_.spec().list("average");
        const auto average = settings && !settings->average.empty() ? settings->average
                             : averages.empty()                     ? std::string("none")
                                                                    : averages.front().label;
        std::string guidance;
        for (const auto& one : stage_.spec().list("guidance")) guidance += toml_value(one.resolved);
        json card{{"n", m.n},
                  {"average", average},
                  {"clip", (!settings || settings->clip) && stage_.space().range.has_value()},
                  {"guidance", guidance}};
        if (const auto& seen = stage_.spec().part("observation")) card["observation"] = toml_value(seen.resolved);
        if (!m.split.empty()) card["split"] = m.split;
        if (!m.features.empty()) card["features"] = m.features;
        if (const auto data = stage_.dataset().fingerprint(); !data.empty()) card["data"] = data;
        for (auto&& [key, value] : spec.resolved)
            if (key.str() != "use" && key.str() != "name") card["fields"][std::string(key.str())] = toml_value(value);
        return card;
    }

    void save(const Checkpoint& checkpoint) {
        const auto path = checkpoint_path(folder_ / "checkpoints", checkpoint.step);
        save_checkpoint(path, checkpoint, stage_);
        const auto& settings = *stage_.spec().train;
        prune_checkpoints(folder_ / "checkpoints", settings.keep, settings.keep_every);
    }

    void log(std::int64_t step, const std::vector<std::pair<std::string, double>>& values,
             const std::vector<double>& by_noise) {
        by_noise_ = by_noise;
        json line{{"step", step}, {"images", step * stage_.spec().train->batch}, {"wall_time", std::time(nullptr)}};
        for (const auto& [name, value] : values) line[name] = json_number(value);
        for (const double loss : by_noise)
            line["train/loss_by_noise"].push_back(std::isnan(loss) ? json(nullptr) : json_number(loss));
        append_line(folder_ / "metrics.jsonl", line.dump());
    }

    void picture_at(std::int64_t step) {
        auto settings = stage_.spec().sample.value_or(SampleSettings{});
        settings.n = std::min<std::int64_t>(settings.n, stage_.dataset().shape().size() == 3 ? 64 : 5000);
        if (stage_.part<Sampler>())
            picture(fmt::format("samples-{:08}", step),
                    draw_samples(stage_, settings, device_, Progress::Mode::none).samples);
    }

    /// A picture is worth no run: where it cannot be made, that is said and the run goes on.
    void picture(const std::string& name, const Tensor& samples) {
        try {
            const auto file = draw_picture(folder_, name, samples, stage_.dataset(), text_);
            if (!file.empty()) Progress::note(fmt::format("picture  {}", (folder_ / file).string()));
        } catch (const Error& error) {
            Progress::note(fmt::format("no picture of the samples: {}; {}", error.what(), error.help()));
        }
    }

    void picture_of_trajectory(const KeptTrajectory& trajectory) {
        try {
            const auto file = trajectory.save(folder_, stage_.dataset(), text_);
            if (!file.empty()) Progress::note(fmt::format("picture  {}", (folder_ / file).string()));
        } catch (const Error& error) {
            Progress::note(fmt::format("no picture of the trajectories: {}; {}", error.what(), error.help()));
        }
    }

    void curves() {
        Chart loss{.title = "training loss",
                   .x_label = "step",
                   .y_label = "loss",
                   .log_y = true,
                   .series = {{.name = "train"}}};
        for (const auto& line : read_json_lines(folder_ / "metrics.jsonl")) {
            if (!line.contains("train/loss") || !line["train/loss"].is_number() || !line.contains("step")) continue;
            loss.series[0].x.push_back(line["step"]);
            loss.series[0].y.push_back(line["train/loss"]);
        }
        for (const double y : loss.series[0].y) loss.log_y = loss.log_y && y > 0;
        Chart noise{.title = "loss by noise level, last interval",
                    .x_label = "t / T (0 least noisy)",
                    .y_label = "loss",
                    .series = {{.name = "train"}}};
        for (std::size_t i = 0; i < by_noise_.size(); ++i)
            if (std::isfinite(by_noise_[i])) {
                noise.series[0].x.push_back((static_cast<double>(i) + 0.5) / static_cast<double>(by_noise_.size()));
                noise.series[0].y.push_back(by_noise_[i]);
            }
        try {
            write_charts(folder_ / "loss.svg", {loss, noise});
        } catch (const Error& error) {
            Progress::note(fmt::format("no picture of the loss: {}; {}", error.what(), error.help()));
        }
    }

    Stage& stage_;
    fs::path folder_;
    std::string text_;
    at::Device device_;
    Progress::Mode progress_;
    std::vector<double> by_noise_;
    json seconds_ = json::object();
};

/// Runs `work`; what it throws is said, and becomes an exit code. `record` is told how it ended.
template <class Work>
int guarded(Work work, const std::function<void(const std::string& status, const std::string& error)>& record = {}) {
    const auto ended = [&](const char* status, const std::string& message, const std::string& help, int code) {
        Progress::note(fmt::format("{}: {}", code == interrupted ? "dtk" : "error", harmless(message)));
        if (!help.empty()) Progress::note("  = help: " + harmless(help));
        if (record) try {
                record(status, message);
            } catch (const std::exception& error) {
                Progress::note(fmt::format("error: run.json could not be written: {}", error.what()));
            }
        return code;
    };
    try {
        return work();
    } catch (const Interrupted& error) {
        return ended("interrupted", error.what(), error.help(), interrupted);
    } catch (const Mistaken& error) {
        return ended("failed", error.what(), error.help(), mistaken);
    } catch (const PluginError& error) {
        return ended("failed", error.what(), error.help(), plugin_fault);
    } catch (const Error& error) {
        return ended("failed", error.what(), error.help(), failed);
    } catch (const c10::Error& error) {
        return ended("failed", error.what_without_backtrace(), "", failed);
    } catch (const std::bad_alloc&) {
        return ended("failed", "memory ran out", "make the batch or the model smaller", failed);
    } catch (const std::exception& error) {
        return ended("failed", error.what(), "", failed);
    }
}

class TorchEngine final : public Engine {
 public:
    int check(const fs::path& file, const Overrides& overrides) override {
        return with_blame([&] {
            return guarded([&] {
                Loaded loaded;
                read(loaded, file, overrides);
                if (!loaded.experiment.stages.empty()) check_stages(loaded);
                if (!loaded.mistakes.empty()) return report(loaded.mistakes);
                say_notes(loaded.experiment);
                say(fmt::format("{} is in order", file.string()));
                return static_cast<int>(done);
            });
        });
    }

    std::string examine(const fs::path& file, const Overrides& overrides, Mistakes& mistakes) override {
        auto& loaded = *new Loaded;  // plugins live until exit, and so does what they were built from
        read(loaded, file, overrides);
        std::string data;
        if (!loaded.experiment.stages.empty())
            for (const auto& [name, stage] : check_stages(loaded)) {
                if (stage->part<Dataset>()) data += stage->dataset().fingerprint();
                for (const auto& [reference, network] : stage->trained_networks()) data += network.sha256;
            }
        mistakes = loaded.mistakes;
        return data;
    }

    int run(const RunRequest& request) override {
        std::optional<RunFolder> folder;
        json result = json::object();
        Loaded loaded;
        return guarded([&] { return run(request, loaded, folder, result); },
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

    int sample(const SampleRequest& request) override {
        return guarded([&] {
            const auto stage_file = request.run / "stage.toml";
            if (!fs::exists(stage_file))
                throw Mistaken(
                    fmt::format("{} is not the folder of a run or of one of its stages", request.run.string()),
                    "a run's folder holds stage.toml once it has begun");
            Loaded loaded;
            auto overrides = request.overrides;
            read(loaded, stage_file, overrides);
            if (!loaded.mistakes.empty()) return report(loaded.mistakes);
            auto& spec = loaded.experiment.stages.front();
            say_notes(loaded.experiment);
            if (!spec.sample || !spec.part("sampler"))
                throw Mistaken("the run has no [sample]", "say how many: --n 64");
            const auto artefacts = [&](const std::string& name) {
                const auto given = loaded.experiment.artefacts.find(name);
                return load_artefact(
                    given != loaded.experiment.artefacts.end() ? given->second : folder_of_artefact(request.run, name));
            };
            Stage stage(spec, loaded.experiment.seed, artefacts, true, loaded.mistakes);
            if (!loaded.mistakes.empty()) return report(loaded.mistakes);
            if (!stage.model().parameters().empty()) {
                std::string notes;
                const auto path = newest_checkpoint(request.run / "checkpoints", notes);
                fmt::print(stderr, "{}", notes);
                if (!path)
                    throw Mistaken(fmt::format("{} holds no checkpoint", request.run.string()),
                                   "let the run save one first");
                const auto checkpoint = load_checkpoint(*path);
                restore(stage, checkpoint, average_of(stage, checkpoint, spec.sample->average), path->string());
            }
            const auto out = request.out.value_or(request.run / "sampled" / time_stamp());
            if (fs::exists(out) && !fs::is_empty(out))
                throw Mistaken(fmt::format("{} is there already and is not empty", out.string()), "give another --out");
            fs::create_directories(out);
            write_atomically(out / "resolved.toml", loaded.experiment.resolved());
            stage.to(loaded.device);
            StageRun run(stage, out, loaded.experiment.resolved(spec), loaded.device, request.progress);
            auto result = run.evaluate();
            result["seconds"] = run.seconds();
            write_atomically(out / "result.json", result.dump(2) + "\n");
            say(fmt::format("\nsamples  {}", (out / "samples.safetensors").string()));
            return static_cast<int>(done);
        });
    }

    NoiseLevels levels(const fs::path& run) override { return load_artefact(run).process->levels(); }

    std::string doctor() override { return device_report(); }

 private:
    static int run(const RunRequest& request, Loaded& loaded, std::optional<RunFolder>& folder, json& result) {
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
        signals_seen = 0;
        std::signal(SIGINT, on_signal);
        std::signal(SIGTERM, on_signal);
        Progress::note(fmt::format("run      {}\ndevice   {}, {} threads, seed {}", folder->path().string(),
                                   loaded.device.str(), at::get_num_threads(), experiment.seed));

        const bool many = experiment.root->contains("stage");
        const auto stage_folder = [&](const std::string& name) {
            return many ? folder->path() / name : folder->path();
        };
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
            StageRun stage_run(stage, stage_folder(spec.name), experiment.resolved(spec), loaded.device,
                               request.progress);
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

    static void refuse_changes(const std::string& then, const std::string& now, const fs::path& run,
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
};

}  // namespace

}  // namespace dtk

extern "C" DTK_API dtk::Engine* dtk_open_engine() {
    static dtk::TorchEngine engine;
    return &engine;
}
