#include "engine/stage_run.hpp"

#include <cmath>
#include <ctime>
#include <fstream>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <dtk/safetensors.hpp>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/stop.hpp"
#include "engine/device.hpp"
#include "engine/init.hpp"
#include "engine/measuring.hpp"
#include "engine/pictures.hpp"
#include "engine/reduction.hpp"
#include "engine/sample_file.hpp"
#include "engine/snapshots.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {
/// Lines of steps that come again, and those that were cut short, go.
void cut_log(const fs::path& file, std::int64_t last_step) {
    std::ifstream in(file, std::ios::binary);
    std::string kept;
    bool cut = false;
    for (std::string text; std::getline(in, text);) {
        const auto line = json::parse(text, nullptr, false);
        const bool stays = line.is_object() && line.contains("step") && line["step"].is_number_integer() &&
                           line["step"].get<std::int64_t>() <= last_step && !in.eof();
        cut = cut || !stays;
        if (stays) kept += text + "\n";
    }
    if (cut) write_atomically(file, kept);
}
}  // namespace

namespace {
/// Is a step over before threads have come together? Of data that are no images every weight is multiplied with every
/// example, forward and twice on the way back.
bool has_small_steps(const Stage& stage, const Processes* processes) {
    if (stage.space().shape.size() != 1) return false;
    constexpr double worth_sharing = 5e7;  // operations
    double weights = 0;
    for (const auto& named : stage.named_tensors())
        if (named.trained) weights += static_cast<double>(named.tensor->numel());
    return 6 * weights * static_cast<double>(batch_parts(*stage.spec().train, processes).rows) < worth_sharing;
}
}  // namespace

template <class Work>
void StageRun::timed(const char* what, Work work) {
    const double began = monotonic_seconds();
    work();
    seconds_[what] = monotonic_seconds() - began;
}

json StageRun::run(const From& from) {
    fs::create_directories(folder_);
    remove_temporaries(folder_);
    write_atomically(folder_ / "stage.toml", text_);
    stage_.to(device_);
    if (from.init && !from.checkpoint) Progress::note(begin_as(stage_, *from.init));
    if (stage_.spec().train) {
        timed("train", [&] { train(from); });
        if (seconds_.contains("validate"))
            seconds_["train"] = seconds_["train"].get<double>() - seconds_["validate"].get<double>();
    } else if (stage_.spec().init)
        take(from);
    auto result = evaluate();
    if (validations_.last) result["held_out"] = validations_.record();
    return result;
}

void StageRun::help(const From& from) {
    stage_.to(device_);
    if (from.init && !from.checkpoint) begin_as(stage_, *from.init);
    if (!stage_.spec().train) return;
    std::optional<OneThread> alone;
    if (from.chooses_threads && has_small_steps(stage_, processes_)) alone.emplace();
    Trainer trainer(stage_, device_, processes_);
    if (from.checkpoint) {
        const auto held = load_checkpoint(*from.checkpoint);
        restore(stage_, held, nullptr, from.checkpoint->string());
        trainer.restore(held);
    }
    if (trainer.step() == stage_.spec().train->steps) return;
    const auto save = [&](const Checkpoint& checkpoint) {
        save_checkpoint(checkpoint_path(folder_ / "checkpoints", checkpoint.step), checkpoint, stage_);
    };
    trainer.run(text_, Progress::Mode::none, {.metrics = {}, .save = save, .snapshot = {}, .sample = {}, .stop = {}});
}

json StageRun::evaluate() {
    stage_.train(false);
    SampleFile drawn;
    json result = json::object();
    const bool measures = !stage_.list<Metric>().empty();
    if (const auto& settings = stage_.spec().sample) {
        std::map<std::string, std::string> about{{"seed", std::to_string(stage_.seed())}, {"experiment", text_}};
        if (const auto range = stage_.dataset().range())
            about["range"] = fmt::format("{} {}", range->first, range->second);
        timed("sample", [&] {
            drawn = draw_into(folder_ / "samples.safetensors", stage_, *settings, device_, progress_, about,
                              measures || settings->invert);
        });
        picture("samples", drawn.samples);
        if (settings->invert)
            save_safetensors(folder_ / "start.safetensors", {{{"start", drawn.start}}, {{"experiment", text_}}});
        if (!drawn.trajectory.empty()) picture_of_trajectory(drawn.trajectory);
        result["network_evaluations"] = drawn.evaluations;
        result["samples"] = settings->n;
        if (drawn.not_finite > 0)
            throw Error(fmt::format("{} of {} samples are not finite", drawn.not_finite, settings->n),
                        "train longer, lower the learning rate, or give the sampler more steps");
    }
    std::int64_t parameters = 0;
    for (const auto& p : stage_.model().parameters()) parameters += p.numel();
    result["parameters"] = parameters;
    if (measures)
        timed("measure",
              [&] { result["metrics"] = measure(stage_, drawn.samples, drawn.start, result, device_, progress_); });
    return result;
}

void StageRun::picture_of_trajectory(const KeptTrajectory& trajectory) {
    try {
        const auto file = trajectory.save(folder_, stage_.dataset(), text_);
        if (!file.empty()) Progress::note(fmt::format("picture  {}", (folder_ / file).string()));
    } catch (const Error& error) {
        Progress::note(fmt::format("no picture of the trajectories: {}; {}", error.what(), error.help()));
    }
}

void StageRun::train(const From& from) {
    const auto checkpoints = folder_ / "checkpoints";
    fs::create_directories(checkpoints);
    remove_temporaries(checkpoints);
    std::optional<OneThread> alone;
    if (from.chooses_threads && at::get_num_threads() > 1 && has_small_steps(stage_, processes_)) {
        alone.emplace();
        Progress::note("threads  1 while it trains: a step is too small to be shared");
    }
    Trainer trainer(stage_, device_, processes_);
    const auto steps = stage_.spec().train->steps;
    if (from.checkpoint) {
        const auto held = load_checkpoint(*from.checkpoint);
        restore(stage_, held, nullptr, from.checkpoint->string());
        trainer.restore(held);
    }
    if (from.resumed)
        Progress::note(
            fmt::format("going on after step {} of {}{}", trainer.step(), steps,
                        from.checkpoint ? ", from checkpoints/" + from.checkpoint->filename().string() : ""));
    cut_log(folder_ / "metrics.jsonl", trainer.step());
    forget_snapshots_after(folder_, trainer.step());
    validations_ = validations_in(folder_);
    if (trainer.step() < steps) {
        trainer.run(text_, progress_,
                    {.metrics = [&](auto step, const auto& values, const auto& lists) { log(step, values, lists); },
                     .save = [&](const auto& checkpoint) { save(checkpoint); },
                     .snapshot = [&](auto step, const auto& averages) { save_snapshot(folder_, step, averages); },
                     .sample = [&](auto step) { picture_at(step); },
                     .stop = stop_asked,
                     .least_error = validations_.best ? validations_.best->of_sampled()
                                                      : std::numeric_limits<double>::infinity()});
        if (trainer.seconds_of_validation() > 0) seconds_["validate"] = trainer.seconds_of_validation();
        draw_loss(folder_);
        if (validations_.last) Progress::note("held out " + validations_.in_words());
    }
    use_average(trainer);
}

/// A network that is not trained here is kept nevertheless, so that the run can be sampled without the one it is of.
void StageRun::take(const From& from) {
    const auto checkpoints = folder_ / "checkpoints";
    fs::create_directories(checkpoints);
    if (from.checkpoint) {
        restore(stage_, load_checkpoint(*from.checkpoint), nullptr, from.checkpoint->string());
        return;
    }
    Checkpoint checkpoint;
    checkpoint.experiment = text_;
    for (const auto& named : stage_.named_tensors())
        if (named.saved) checkpoint.tensors.emplace(named.name, named.tensor->detach());
    save_checkpoint(checkpoint_path(checkpoints, 0), checkpoint, stage_);
}

/// What is sampled and measured: the average that [sample] names.
void StageRun::use_average(Trainer& trainer) {
    at::NoGradGuard no_grad;
    const auto& sample = stage_.spec().sample;
    Checkpoint held;
    held.averages = trainer.averages().state();
    add_made_average(held, sample ? sample->average : "", folder_, trainer.step());
    const auto* average = average_of(stage_, held, sample ? sample->average : "");
    if (!average) return;
    for (auto& named : stage_.named_tensors())
        if (const auto found = average->find(named.name); found != average->end()) named.tensor->copy_(found->second);
}

void StageRun::save(const Checkpoint& checkpoint) {
    const auto path = checkpoint_path(folder_ / "checkpoints", checkpoint.step);
    save_checkpoint(path, checkpoint, stage_);
    const auto& settings = *stage_.spec().train;
    prune_checkpoints(folder_ / "checkpoints", settings.keep, settings.keep_every,
                      validations_.best ? validations_.best->step : -1);
}

void StageRun::log(std::int64_t step, const NamedNumbers& values, const NamedLists& lists) {
    json line{{"step", step}, {"images", step * stage_.spec().train->batch}, {"wall_time", std::time(nullptr)}};
    for (const auto& [name, value] : values) line[name] = json_number(value);
    for (const auto& [name, list] : lists)
        for (const double value : list) line[name].push_back(std::isnan(value) ? json(nullptr) : json_number(value));
    append_line(folder_ / "metrics.jsonl", line.dump());
    if (const auto one = validated_in(line)) validations_.add(*one);
}

void StageRun::picture_at(std::int64_t step) {
    auto settings = stage_.spec().sample.value_or(SampleSettings{});
    settings.n = std::min<std::int64_t>(settings.n, stage_.dataset().shape().size() == 3 ? 64 : 5000);
    if (!stage_.part<Sampler>()) return;
    try {
        picture(fmt::format("samples-{:08}", step),
                draw_samples(stage_, settings, device_, Progress::Mode::none).samples);
    } catch (const Interrupted&) {  // training sees it, too, and saves itself
    }
}

/// A picture is worth no run: where it cannot be made, that is said and the run goes on.
void StageRun::picture(const std::string& name, const Tensor& samples) {
    try {
        std::vector<std::string> in_turn;
        if (const auto asked = classes_in_turn(stage_, stage_.spec().sample.value_or(SampleSettings{}));
            asked.defined() && stage_.looks_at_classes())
            for (std::int64_t i = 0; i < asked.numel(); ++i)
                in_turn.push_back(stage_.classes().name(asked[i].item<std::int64_t>()));
        const auto file = draw_picture(folder_, name, samples, stage_.dataset(), text_, in_turn);
        if (!file.empty()) Progress::note(fmt::format("picture  {}", (folder_ / file).string()));
    } catch (const Error& error) {
        Progress::note(fmt::format("no picture of the samples: {}; {}", error.what(), error.help()));
    }
}

}  // namespace dtk
