// dtk sample: samples of a network that a run has trained.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/files.hpp"
#include "base/stop.hpp"
#include "base/validated.hpp"
#include "base/words.hpp"
#include "engine/artefacts.hpp"
#include "engine/checkpoint.hpp"
#include "engine/commands.hpp"
#include "engine/run_folder.hpp"
#include "engine/say.hpp"
#include "engine/stage_run.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

/// The one that is asked for; the newest otherwise, and nothing where the run has none.
std::optional<fs::path> wanted_checkpoint(const SampleRequest& request) {
    const auto folder = request.run / "checkpoints";
    if (request.checkpoint) return request.checkpoint;
    if (request.step) return checkpoint_of_step(folder, *request.step);
    if (request.best) {
        const auto best = validations_in(request.run).best;
        if (!best)
            throw UserError(fmt::format("{} holds no held-out errors that one checkpoint could be the best by",
                                        request.run.string()),
                            "train with a table [validate], or name the step: --step N");
        return checkpoint_of_step(folder, best->step);
    }
    std::string notes;
    const auto newest = newest_checkpoint(folder, notes);
    if (!notes.empty()) Progress::note(notes);
    return newest;
}

/// The stage as the run recorded it. Data that cannot be read any more are made up for by what the checkpoint remembers
/// of them. Null where something is mistaken, and that has been said.
std::unique_ptr<Stage> stage_to_sample(Loaded& loaded, const SampleRequest& request, const Overrides& overrides,
                                       const std::optional<Checkpoint>& checkpoint) {
    read(loaded, request.run / "stage.toml", overrides);
    if (!loaded.mistakes.empty()) return nullptr;
    auto& spec = loaded.experiment.stages.front();
    if (!spec.sample || !spec.part("sampler")) throw UserError("the run has no [sample]", "say how many: --n 64");
    const auto remembered = checkpoint ? std::optional(checkpoint->data) : std::nullopt;
    auto stage = std::make_unique<Stage>(spec, loaded.experiment.seed, networks_of(loaded, request.run), true,
                                         loaded.mistakes, remembered);
    return loaded.mistakes.empty() ? std::move(stage) : nullptr;
}

int sample_in(const SampleRequest& request) {
    watch_signals();
    if (!fs::exists(request.run / "stage.toml"))
        throw UserError(fmt::format("{} is not the folder of a run or of one of its stages", request.run.string()),
                        "a run's folder holds stage.toml once it has begun");
    const auto from = wanted_checkpoint(request);
    auto checkpoint = from ? std::optional(load_checkpoint(*from)) : std::nullopt;
    auto overrides = request.overrides;
    auto loaded = std::make_unique<Loaded>();
    auto stage = stage_to_sample(*loaded, request, overrides, checkpoint);
    if (stage && !stage->missing_data().empty() && checkpoint->data_sd > 0) {
        // It would be measured on the data.
        overrides.set.push_back(fmt::format("process.data_sd={}", checkpoint->data_sd));
        stage.reset();
        loaded = std::make_unique<Loaded>();
        stage = stage_to_sample(*loaded, request, overrides, checkpoint);
    }
    if (!stage) return report(loaded->mistakes);
    const auto& spec = loaded->experiment.stages.front();
    say_notes(loaded->experiment);
    if (!stage->missing_data().empty())
        Progress::note(
            fmt::format("note: the data cannot be read, and what the checkpoint says of them (shape {}) stands "
                        "in: {}",
                        fmt::join(stage->dataset().shape(), "×"), stage->missing_data()));
    if (const auto classes = stage->classes(); classes.count > 0 && stage->looks_at_classes()) {
        if (checkpoint && checkpoint->data.classes.count > 0 && checkpoint->data.classes.names != classes.names &&
            !checkpoint->data.classes.names.empty())
            throw UserError(fmt::format("the network was trained with the classes {}, and those of the data are now {}",
                                        checkpoint->data.classes.text(), classes.text()),
                            "bring the data back to what they were, or take them away: the checkpoint knows its own");
        Progress::note("classes  " + harmless(classes.text()));
    }
    if (!stage->model().parameters().empty()) {
        if (!checkpoint)
            throw UserError(fmt::format("{} holds no checkpoint", request.run.string()), "let the run save one first");
        add_made_average(*checkpoint, spec.sample->average, request.run, checkpoint->step);
        restore(*stage, *checkpoint, average_of(*stage, *checkpoint, spec.sample->average), from->string());
        Progress::note(fmt::format("network  step {} of {}", checkpoint->step, from->string()));
    }
    const auto out = request.out.value_or(request.run / "sampled" / time_stamp());
    if (fs::exists(out) && !fs::is_empty(out))
        throw UserError(fmt::format("{} is there already and is not empty", out.string()), "give another --out");
    fs::create_directories(out);
    write_atomically(out / "resolved.toml", loaded->experiment.resolved());
    stage->to(loaded->device);
    StageRun run(*stage, out, loaded->experiment.resolved(spec), loaded->device, request.progress);
    auto result = run.evaluate();
    result["seconds"] = run.seconds();
    if (checkpoint) {
        result["step"] = checkpoint->step;
        result["checkpoint"] = fs::absolute(*from).lexically_normal().string();
    }
    write_atomically(out / "result.json", result.dump(2) + "\n");
    say(fmt::format("\nsamples  {}", (out / "samples.safetensors").string()));
    return done;
}

}  // namespace

int sample_run(const SampleRequest& request) {
    return guarded([&] { return sample_in(request); });
}

}  // namespace dtk
