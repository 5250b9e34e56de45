// dtk ema: averages of other widths than those a run trained with.
#include <fmt/format.h>

#include "base/files.hpp"
#include "base/words.hpp"
#include "engine/artefacts.hpp"
#include "engine/checkpoint.hpp"
#include "engine/commands.hpp"
#include "engine/say.hpp"
#include "engine/snapshots.hpp"
#include "engine/validation.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// The errors of held-out examples, one for each average; empty where the run does not say how they are looked at, or
/// has no checkpoint of that step.
std::vector<double> held_out(const AverageRequest& request, std::int64_t step, const std::vector<MadeAverage>& made) {
    Loaded loaded;
    read(loaded, request.run / "stage.toml", request.overrides);
    const auto path = checkpoint_path(request.run / "checkpoints", step);
    if (!loaded.mistakes.empty() || !loaded.experiment.stages.front().validate || !fs::exists(path)) return {};
    const auto checkpoint = load_checkpoint(path);
    Stage stage(loaded.experiment.stages.front(), loaded.experiment.seed, networks_of(loaded, request.run), true,
                loaded.mistakes);
    if (!loaded.mistakes.empty()) throw UserError(loaded.mistakes.text());
    stage.to(loaded.device);
    stage.train(false);
    std::optional<Validation> validation;
    std::vector<double> errors;
    for (const auto& one : made) {
        restore(stage, checkpoint, &one.tensors, path.string());
        if (!validation) validation.emplace(stage, loaded.device);
        errors.push_back(validation->measure().error);
    }
    return errors;
}

int averages_in(const AverageRequest& request) {
    if (!fs::exists(request.run / "stage.toml"))
        throw UserError(fmt::format("{} is not the folder of a run or of one of its stages", request.run.string()),
                        "a run's folder holds stage.toml once it has begun");
    const auto step = request.step ? *request.step : newest_snapshot(request.run);
    const auto made = made_averages(request.run, step, request.widths);
    const auto errors = held_out(request, step, made);
    say(fmt::format("averages at step {}, each of {} copies", step, made.front().copies));
    say(fmt::format("{:<14}{:>16}{}", "average", "profile is off", errors.empty() ? "" : "        held out"));
    for (std::size_t i = 0; i < made.size(); ++i)
        say(fmt::format("{:<14}{:>14.2g} %{}", name_of_width(made[i].width), 100 * made[i].off,
                        errors.empty() ? "" : fmt::format("{:>16.6g}", errors[i])));
    say(fmt::format("draw with one: dtk sample {} --step {} --set sample.average={}", shell_word(request.run.string()),
                    step, name_of_width(made.front().width)));
    return done;
}

}  // namespace

int make_averages(const AverageRequest& request) {
    return guarded([&] { return averages_in(request); });
}

}  // namespace dtk
