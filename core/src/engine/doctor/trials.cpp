// Training in memory with other settings.
#include "engine/doctor/trials.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/doctor/errors.hpp"

namespace dtk::doctor {

std::int64_t steps_in(Examined& run, double seconds, std::int64_t most) {
    const auto& train = run.stage().spec().train;
    if (!train) throw NotLooked("the run does not train");
    double rate = 0;
    for (const auto& line : run.log())
        if (const auto found = line.find("time/steps_per_s"); found != line.end() && found->is_number())
            rate = std::max(rate, found->get<double>());
    // There and back costs about three times what asking does.
    if (rate == 0 && run.seconds_per_row > 0) rate = 1 / (3 * run.seconds_per_row * static_cast<double>(train->batch));
    if (rate == 0) rate = 20;
    seconds = std::min(seconds, run.seconds_left() / 2);
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(seconds * rate), 1, most);
}

Tried tried(Examined& run, Trial trial, bool each) {
    if (!run.stage().spec().train) throw NotLooked("the run does not train");
    const auto& checkpoint = run.checkpoint();
    const bool afresh = trial.afresh || !checkpoint;
    const auto first = afresh ? 0 : checkpoint->step;
    std::vector<std::string> set{"train.keep_every=0", "train.sample_every=0", "train.checkpoint_every=0",
                                 "train.checkpoint_minutes=0"};
    if (run.stage().spec().validate) set.emplace_back("validate.every=0");
    if (!trial.as_it_was)
        for (const auto& one : {std::string("rate=constant"), std::string("train.warmup=0"),
                                fmt::format("train.steps={}", first + trial.steps)})
            set.push_back(one);
    set.push_back(fmt::format("train.log_every={}", each ? 1 : trial.steps));
    set.insert(set.end(), trial.set.begin(), trial.set.end());

    Tried result{.trial = std::move(trial)};
    const auto built = run.built(set);
    auto& stage = *built->stage;
    if (afresh)
        run.begin(*built);
    else
        stage.to(run.device()), restore(stage, *checkpoint, nullptr, "the checkpoint");
    Trainer trainer(stage, run.device());
    if (!afresh) trainer.restore(*checkpoint);
    const auto last = first + result.trial.steps;
    const auto late = [&] { return run.seconds_left() < 0; };
    if (trainer.step() < last) try {
            trainer.run("", Progress::Mode::none,
                        {.metrics =
                             [&](auto, const auto& values, const auto&) {
                                 for (const auto& [name, value] : values) {
                                     if (name == "train/loss") result.loss.push_back(value);
                                     if (name == "train/grad_norm") result.norm.push_back(value);
                                 }
                             },
                         .save = [](const auto&) {},
                         .sample = [](auto) {},
                         .stop = [&] { return late() || trainer.step() >= last; }});
        } catch (const Interrupted&) {
            if (trainer.step() < last) throw NotLooked("the trial took longer than a minute's look has");
        } catch (const PluginError&) {
            throw;
        } catch (const Error&) {  // what the trainer says of a loss that is not finite
            result.bad_step = trainer.step();
            return result;
        }
    if (result.trial.at_the_end) result.trial.at_the_end(stage, trainer);
    stage.train(false);
    result.score = score_of(errors_by_noise(run, stage, run.held_out()));
    return result;
}

}  // namespace dtk::doctor
