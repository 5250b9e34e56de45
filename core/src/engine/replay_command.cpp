// dtk run --replay: one step of a run that is there, computed again and printed.
#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/stop.hpp"
#include "base/words.hpp"
#include "engine/artefacts.hpp"
#include "engine/checkpoint.hpp"
#include "engine/commands.hpp"
#include "engine/init.hpp"
#include "engine/replay.hpp"
#include "engine/run_folder.hpp"
#include "engine/say.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// The step that is meant, and the folder of the run or stage that it is of.
struct Meant {
    fs::path folder;
    std::int64_t step = 0;
};

Meant meant_by(const RunRequest& request, const fs::path& run) {
    const auto& text = *request.replay;
    const auto slash = text.rfind('/');
    Meant meant{slash == text.npos ? run : run / text.substr(0, slash), 0};
    const auto* const begin = text.data() + (slash == text.npos ? 0 : slash + 1);
    const auto* const end = text.data() + text.size();
    if (const auto [at, error] = std::from_chars(begin, end, meant.step); error != std::errc() || at != end)
        throw UserError(fmt::format("`--replay {}` names no step", text),
                        "write --replay 1234, or --replay STAGE/1234");
    if (fs::exists(meant.folder / "stage.toml")) return meant;
    std::vector<std::string> stages;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(run, error))
        if (fs::exists(entry.path() / "stage.toml")) stages.push_back(entry.path().filename().string());
    std::sort(stages.begin(), stages.end());
    if (stages.empty())
        throw UserError(fmt::format("{} holds no run that has begun", run.string()),
                        "a run's folder holds stage.toml once it has begun");
    throw UserError(fmt::format("{} is a run of the stages {}", run.string(), listed(stages)),
                    fmt::format("say which: --replay {}/{}", stages.back(), meant.step));
}

/// Brings the stage and the trainer to where the step begins → where from, in words.
std::string come_to(Stage& stage, Trainer& trainer, const Meant& meant, const RunRequest& request) {
    std::string notes, from = "the network as it was drawn";
    const auto checkpoint = newest_checkpoint(meant.folder / "checkpoints", notes, meant.step - 1);
    if (!notes.empty()) Progress::note(notes);
    if (checkpoint) {
        const auto held = load_checkpoint(*checkpoint);
        restore(stage, held, nullptr, checkpoint->string());
        trainer.restore(held);
        from = "checkpoints/" + checkpoint->filename().string();
    } else if (const auto& init = stage.spec().init) {
        from = begin_as(stage, init_checkpoint(folder_of_artefact(meant.folder, init->run.name())));
    }
    const auto between = meant.step - 1 - trainer.step();
    Progress progress("replay", meant.step - 1, {.mode = request.progress, .start = trainer.step()});
    trainer.advance(meant.step - 1, [&] {
        progress.at(trainer.step());
        end_if_asked("before it came to the step");
    });
    progress.finish();
    if (const auto bad = trainer.sums().first_bad(); bad >= 0)
        throw UserError(fmt::format("step {} is not finite already, and was not made", bad + 1),
                        fmt::format("look at that one: --replay {}", bad + 1));
    return fmt::format("{}{}", from, between > 0 ? fmt::format(" and {} steps after it", between) : "");
}

std::string number(double value) { return fmt::format("{:.4g}", value); }

void print_not_finite(const NotFinite& bad, const InspectedStep& step) {
    say(fmt::format("\nnot finite, first: {}", bad.what));
    if (bad.rows.empty()) return;
    say(fmt::format("  of {} of the {} examples{}", bad.rows.size(), step.examples.size(),
                    bad.rows.size() > 10 ? ", the first ten" : ""));
    for (std::size_t i = 0; i < std::min<std::size_t>(bad.rows.size(), 10); ++i) {
        const auto row = static_cast<std::size_t>(bad.rows[i]);
        if (row < step.examples.size())
            say(fmt::format("  row {:<6} example {:<10} t {:g}", row, step.examples[row].number, step.examples[row].t));
    }
}

void print(const InspectedStep& step, const Stage& stage, const std::string& from) {
    const auto& settings = *stage.spec().train;
    say(fmt::format("step      {} of {}, from {}", step.step, settings.steps, from));
    say(fmt::format("rate      {}", number(step.rate)));
    for (const auto& [name, mean] : step.means) say(fmt::format("{:<22}{}", name, number(mean)));
    std::vector<std::string> tenths;
    for (const double error : step.error_by_noise) tenths.push_back(std::isnan(error) ? "–" : number(error));
    say(fmt::format("error in tenths of the times, from the least noisy (–: none drawn, or not a number)\n  {}",
                    fmt::join(tenths, "  ")));
    if (step.first_bad) print_not_finite(*step.first_bad, step);

    auto norms = step.gradient_norms;
    constexpr std::size_t most_modules = 40;
    say(fmt::format(
        "\ngradient norm by module{}",
        norms.size() > most_modules ? fmt::format(", the {} largest of {}", most_modules, norms.size()) : ""));
    const auto size = [](double value) { return std::isfinite(value) ? value : INFINITY; };
    if (norms.size() > most_modules) {
        std::stable_sort(norms.begin(), norms.end(),
                         [&](const auto& a, const auto& b) { return size(a.second) > size(b.second); });
        norms.resize(most_modules);
    }
    for (const auto& [module, norm] : norms) say(fmt::format("  {:<40}{}", module, number(norm)));

    std::vector<std::size_t> rows(step.examples.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
        return size(step.examples[a].loss) > size(step.examples[b].loss);
    });
    rows.resize(std::min<std::size_t>(rows.size(), 10));
    say(fmt::format("\nlargest losses\n  {:<8}{:<12}{:<10}{:<10}{:<12}{}", "row", "example", "t", "log-SNR", "error",
                    "loss"));
    for (const auto row : rows) {
        const auto& one = step.examples[row];
        say(fmt::format("  {:<8}{:<12}{:<10}{:<10}{:<12}{}", row, one.number, fmt::format("{:g}", one.t),
                        number(stage.process().levels().log_snr(one.t)), number(one.error), number(one.loss)));
    }
}

int replay_in(const RunRequest& request) {
    watch_signals();
    Diagnostics mistakes;
    const auto root = read_toml(request.file, request.overrides.set, mistakes);
    if (!mistakes.empty()) return report(mistakes);
    const auto meant = meant_by(request, named_run(request, root["name"].value_or(request.file.stem().string())));
    Loaded loaded;
    read(loaded, meant.folder / "stage.toml", request.overrides);
    if (!loaded.mistakes.empty()) return report(loaded.mistakes);
    auto& spec = loaded.experiment.stages.front();
    if (!spec.train) throw UserError(fmt::format("nothing is trained in {}", meant.folder.string()));
    if (meant.step < 1 || meant.step > spec.train->steps)
        throw UserError(fmt::format("there is no step {}", meant.step),
                        fmt::format("the training has steps 1 to {}", spec.train->steps));
    Stage stage(spec, loaded.experiment.seed, networks_of(loaded, meant.folder), true, loaded.mistakes);
    if (!loaded.mistakes.empty()) return report(loaded.mistakes);
    say_notes(loaded.experiment);
    Progress::note(fmt::format("replay   {}, as it was recorded there", meant.folder.string()));
    stage.to(loaded.device);
    Trainer trainer(stage, loaded.device);
    const auto from = come_to(stage, trainer, meant, request);
    print(inspect_next_step(stage, trainer), stage, from);
    return done;
}

}  // namespace

int replay_run(const RunRequest& request) {
    return guarded([&] { return replay_in(request); });
}

}  // namespace dtk
