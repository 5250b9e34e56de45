// dtk sample: samples of a network that a run has trained.
#include <fmt/format.h>

#include "base/files.hpp"
#include "engine/artefacts.hpp"
#include "engine/commands.hpp"
#include "engine/run_folder.hpp"
#include "engine/say.hpp"
#include "engine/stage_run.hpp"

namespace dtk {

int sample_run(const SampleRequest& request) {
    return guarded([&] {
        const auto stage_file = request.run / "stage.toml";
        if (!std::filesystem::exists(stage_file))
            throw Mistaken(fmt::format("{} is not the folder of a run or of one of its stages", request.run.string()),
                           "a run's folder holds stage.toml once it has begun");
        Loaded loaded;
        auto overrides = request.overrides;
        read(loaded, stage_file, overrides);
        if (!loaded.mistakes.empty()) return report(loaded.mistakes);
        auto& spec = loaded.experiment.stages.front();
        say_notes(loaded.experiment);
        if (!spec.sample || !spec.part("sampler")) throw Mistaken("the run has no [sample]", "say how many: --n 64");
        const auto artefacts = [&](const std::string& name) {
            const auto given = loaded.experiment.artefacts.find(name);
            return load_artefact(given != loaded.experiment.artefacts.end() ? given->second
                                                                            : folder_of_artefact(request.run, name));
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
        if (std::filesystem::exists(out) && !std::filesystem::is_empty(out))
            throw Mistaken(fmt::format("{} is there already and is not empty", out.string()), "give another --out");
        std::filesystem::create_directories(out);
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

}  // namespace dtk
