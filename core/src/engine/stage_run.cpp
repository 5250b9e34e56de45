#include "engine/stage_run.hpp"

#include <cmath>
#include <ctime>

#include <fmt/format.h>

#include "base/files.hpp"
#include "base/json.hpp"
#include "engine/measuring.hpp"
#include "engine/pictures.hpp"
#include "engine/safetensors.hpp"
#include "engine/sampling.hpp"
#include "engine/stop.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

template <class Work>
void StageRun::timed(const char* what, Work work) {
    const double began = monotonic_seconds();
    work();
    seconds_[what] = monotonic_seconds() - began;
}

json StageRun::run(bool resume) {
    fs::create_directories(folder_);
    remove_temporaries(folder_);
    write_atomically(folder_ / "stage.toml", text_);
    stage_.to(device_);
    if (stage_.spec().train) timed("train", [&] { train(resume); });
    return evaluate();
}

json StageRun::evaluate() {
    stage_.train(false);
    Tensor samples, start;
    json result = json::object();
    if (const auto& settings = stage_.spec().sample) {
        timed("sample", [&] {
            auto drawn = draw_samples(stage_, *settings, device_, progress_);
            samples = drawn.samples;
            start = drawn.start;
            result["network_evaluations"] = drawn.evaluations;
        });
        save_safetensors(folder_ / "samples.safetensors",
                         {{{"samples", samples}}, {{"seed", std::to_string(stage_.seed())}, {"experiment", text_}}});
        picture("samples", samples);
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
        timed("measure", [&] { result["metrics"] = measure(stage_, samples, start, result, device_, progress_); });
    return result;
}

void StageRun::train(bool resume) {
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
             .stop = stop_asked});
        draw_loss(folder_, by_noise_);
    }
    use_average(trainer);
}

/// What is sampled and measured: the average that [sample] names.
void StageRun::use_average(Trainer& trainer) {
    at::NoGradGuard no_grad;
    const auto& sample = stage_.spec().sample;
    const Checkpoint held{.averages = trainer.averages().state()};
    const auto* average = average_of(stage_, held, sample ? sample->average : "");
    if (!average) return;
    for (auto& named : stage_.named_tensors())
        if (const auto found = average->find(named.name); found != average->end()) named.tensor->copy_(found->second);
}

void StageRun::save(const Checkpoint& checkpoint) {
    const auto path = checkpoint_path(folder_ / "checkpoints", checkpoint.step);
    save_checkpoint(path, checkpoint, stage_);
    const auto& settings = *stage_.spec().train;
    prune_checkpoints(folder_ / "checkpoints", settings.keep, settings.keep_every);
}

void StageRun::log(std::int64_t step, const std::vector<std::pair<std::string, double>>& values,
                   const std::vector<double>& by_noise) {
    by_noise_ = by_noise;
    json line{{"step", step}, {"images", step * stage_.spec().train->batch}, {"wall_time", std::time(nullptr)}};
    for (const auto& [name, value] : values) line[name] = json_number(value);
    for (const double loss : by_noise)
        line["train/loss_by_noise"].push_back(std::isnan(loss) ? json(nullptr) : json_number(loss));
    append_line(folder_ / "metrics.jsonl", line.dump());
}

void StageRun::picture_at(std::int64_t step) {
    auto settings = stage_.spec().sample.value_or(SampleSettings{});
    settings.n = std::min<std::int64_t>(settings.n, stage_.dataset().shape().size() == 3 ? 64 : 5000);
    if (stage_.part<Sampler>())
        picture(fmt::format("samples-{:08}", step),
                draw_samples(stage_, settings, device_, Progress::Mode::none).samples);
}

/// A picture is worth no run: where it cannot be made, that is said and the run goes on.
void StageRun::picture(const std::string& name, const Tensor& samples) {
    try {
        const auto file = draw_picture(folder_, name, samples, stage_.dataset(), text_);
        if (!file.empty()) Progress::note(fmt::format("picture  {}", (folder_ / file).string()));
    } catch (const Error& error) {
        Progress::note(fmt::format("no picture of the samples: {}; {}", error.what(), error.help()));
    }
}

}  // namespace dtk
