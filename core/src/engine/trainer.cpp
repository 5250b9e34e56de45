// The training loop.
#include "engine/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <csignal>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/moments.hpp>

#include "base/engine.hpp"
#include "base/stop.hpp"
#include "engine/batch_queue.hpp"
#include "engine/blocks.hpp"
#include "engine/conditioning.hpp"
#include "engine/objective.hpp"
#include "engine/validation.hpp"

namespace dtk {

namespace {

/// How often a time sampler that learns is told of errors, in steps.
constexpr std::int64_t tell_every = 10;

/// What processes add up at each step before what is logged: parts that are not finite, and who was asked to stop, by
/// the keyboard or otherwise.
enum Shared { not_finite, by_keyboard, by_queue, shared };

Parameters trained_tensors(const Stage& stage) {
    Parameters parameters;
    for (const auto& named : stage.named_tensors()) {
        if (!named.trained) continue;
        parameters.names.push_back(named.name);
        parameters.tensors.push_back(*named.tensor);
        parameters.decays.push_back(named.tensor->dim() >= 2);
    }
    return parameters;
}

/// Gradients of share·Σ minimised for the tensors that the objective trains.
void backward(const Stage& stage, const Objective& objective, const Tensor& minimised, double share) {
    const auto each = at::full({}, share, minimised.options().requires_grad(false)).expand_as(minimised);
    if (objective.trains.empty()) return minimised.backward(each);
    std::vector<Tensor> trained;
    for (const auto& named : stage.named_tensors())
        if (named.trained && named.name.starts_with(objective.trains + ".")) trained.push_back(*named.tensor);
    if (trained.empty())
        throw PluginError(fmt::format("loss `{}` trains `{}`, and there is no trained tensor of that path",
                                      stage.spec().part("loss").name, objective.trains));
    minimised.backward(each, /*retain_graph=*/true, /*create_graph=*/false, at::TensorList(trained));
}

/// The global norm of the gradients; they are scaled to at most `most` where that is positive.
Tensor clip(const std::vector<Tensor>& tensors, double most) {
    const auto all = gradients(tensors);
    if (const auto blocks = Blocks::of({&all})) {
        // Where float32 does not hold the sum, it does not hold what the optimiser makes of it either.
        const double sum = squares(*blocks);
        const double norm =
            std::sqrt(blocks->type() == at::kFloat ? static_cast<double>(static_cast<float>(sum)) : sum);
        if (most > 0 && norm + 1e-6 > most) scale(*blocks, most / (norm + 1e-6));
        return at::scalar_tensor(norm, at::kDouble);
    }
    const auto norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(all)), 2);
    if (most > 0) at::_foreach_mul_(all, (most / (norm + 1e-6)).clamp_max(1));
    return norm;
}

/// Counts an objective whose sum is no number.
void note_bad(Tensor& flags, const Tensor& minimised) {
    const auto sum = minimised.detach().sum();
    if (sum.is_cpu())
        flags.mutable_data_ptr<double>()[not_finite] += !std::isfinite(sum.item<double>());
    else
        flags.select(0, not_finite) += sum.isfinite().logical_not();
}

}  // namespace

Trainer::Trainer(Stage& stage, at::Device device, Processes* processes)
    : stage_(stage),
      settings_(*stage.spec().train),
      device_(device),
      processes_(processes),
      parts_(batch_parts(settings_, processes)),
      parameters_(trained_tensors(stage)),
      reduction_(parameters_.tensors, settings_, processes),
      optimizer_(stage.part<Optimizer>()),
      averages_(stage, parameters_),
      sums_(device) {
    optimizer_->begin(parameters_);
}

void Trainer::restore(const Checkpoint& checkpoint) try {
    step_ = checkpoint.step;
    optimizer_->restore(checkpoint.optimizer);
    averages_.restore(checkpoint.averages);
    sums_.restore(checkpoint.sums);
    pending_.clear();
    if (const auto t = checkpoint.pending.find("t"); t != checkpoint.pending.end())
        pending_.push_back(at::stack({t->second, checkpoint.pending.at("error")}).to(device_));
} catch (const UserError&) {
    throw;
} catch (const Error& error) {
    throw UserError(error.what(), error.help());
}

Checkpoint Trainer::snapshot(const std::string& experiment) const {
    Checkpoint checkpoint{.step = step_,
                          .experiment = experiment,
                          .tensors = {},
                          .averages = averages_.state(),
                          .optimizer = optimizer_->state(),
                          .sums = sums_.state(),
                          .pending = {}};
    for (const auto& named : stage_.named_tensors())
        if (named.saved) checkpoint.tensors.emplace(named.name, named.tensor->detach());
    if (!pending_.empty()) {
        const auto pending = at::cat(pending_, 1).cpu();
        checkpoint.pending = {{"t", pending.select(0, 0)}, {"error", pending.select(0, 1)}};
    }
    return checkpoint;
}

double learning_rate(const TrainSettings& settings, const Rate& law, std::int64_t step) {
    const auto warmup = settings.warmup;
    const double warm = warmup > 0 ? std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(warmup)) : 1;
    return settings.lr * warm * law.share(std::max<std::int64_t>(0, step - warmup), settings.steps - warmup);
}

Tensor Trainer::part_of_step(Batch batch, const Random& random, const StepLook& look) {
    if (look.begins) look.begins(batch);
    const auto rows = batch.x.size(0);
    const double share = 1.0 / static_cast<double>(settings_.batch);
    const auto loss = stage_.part<Loss>();
    const auto times = stage_.part<Times>();

    if (settings_.drop_condition > 0)
        batch.condition.given = told_rows(random.stream("drop"), settings_.drop_condition, rows, device_);
    auto drawn = times->draw(batch, stage_.process(), stage_.random("train/t").step(step_).from(batch.first));
    if (!loss->draws_times()) drawn.weight = 1;

    const auto denoise = stage_.denoiser(
        {.random = &random, .recompute = settings_.recompute, .bf16 = settings_.precision == "bf16"}, batch.condition);
    const auto values = (*loss)(denoise, batch, drawn.t, random);
    auto flags = at::zeros({shared}, at::TensorOptions(device_).dtype(at::kDouble));
    Tensor logged;
    for (std::size_t i = 0; i < values.objectives.size(); ++i) {
        const auto& objective = values.objectives[i];
        if (objective.value.dim() != 1 || objective.value.size(0) != rows)
            throw PluginError(
                fmt::format("loss `{}` answers a tensor of shape [{}] for {} examples", stage_.spec().part("loss").name,
                            fmt::join(objective.value.sizes(), ", "), rows),
                "a loss answers one number for each example, shape [B]");
        const auto minimised = weighted(stage_, objective, drawn);
        backward(stage_, objective, minimised, share);
        note_bad(flags, minimised);
        if (i > 0) continue;
        if (look.computed) look.computed(batch, drawn.t, objective.value, minimised);
        logged = sums_.of_part(objective.value, minimised, drawn, values, share, stage_.process().steps());
        if (times->observes()) {
            const auto error = objective.value.detach().to(at::kDouble);
            seen_.push_back(at::stack({drawn.t.rows(rows).to(error.device()), error}));
        }
    }
    if (processes_ && stop_asked()) flags.select(0, stop_signal() == SIGINT ? by_keyboard : by_queue).fill_(1);
    return at::cat({flags, logged});
}

void Trainer::update(const Tensor& finite) {
    at::NoGradGuard no_grad;
    const auto norm = clip(parameters_.tensors, settings_.clip);
    sums_.end_step(norm, finite, step_);
    const auto scalar = at::TensorOptions(device_).dtype(at::kFloat);
    optimizer_->step(at::full({}, rate(step_), scalar), sums_.skip());
    averages_.update(step_);
}

Tensor Trainer::compute_gradients(BatchQueue& batches, const StepLook& look) {
    const auto random = stage_.random("train").step(step_);
    reduction_.begin();
    seen_.clear();
    for (auto part = parts_.first; part < parts_.first + parts_.count; ++part)
        reduction_.add(part_of_step(batches.next(), random.from(part * parts_.rows), look));
    const auto numbers = reduction_.finish();

    // Examples in the order of the batch: first those of process 0.
    if (!seen_.empty()) {
        auto seen = at::cat(seen_, 1);
        if (processes_) seen = processes_->gather(seen).transpose(0, 1).reshape({2, settings_.batch});
        pending_.push_back(seen);
    }
    if (processes_) agree_to_stop(numbers);
    sums_.add(numbers.slice(0, shared));
    return numbers.select(0, not_finite) == 0;
}

void Trainer::agree_to_stop(const Tensor& numbers) {
    const auto asked = [&](Shared how) { return numbers.select(0, how).item<double>() > 0; };
    stopping_ = asked(by_keyboard) || asked(by_queue);
    if (stopping_) stop_with(asked(by_queue) ? SIGTERM : SIGINT);
}

void Trainer::one_step(BatchQueue& batches) {
    update(compute_gradients(batches, {}));
    ++step_;
    if (step_ % tell_every == 0) tell_times();
}

void Trainer::advance(std::int64_t step, const std::function<void()>& each) {
    stage_.train(true);
    BatchQueue batches(stage_, device_, step_, parts_);
    while (step_ < step) {
        one_step(batches);
        if (each) each();
    }
}

void Trainer::look(const StepLook& look) {
    stage_.train(true);
    sums_.clear();
    BatchQueue batches(stage_, device_, step_, parts_);
    const auto finite = compute_gradients(batches, look);
    at::NoGradGuard no_grad;
    sums_.end_step(clip(parameters_.tensors, 0), finite, step_);
}

void Trainer::tell_times() {
    if (pending_.empty()) return;
    const auto pending = at::cat(pending_, 1).cpu();
    stage_.part<Times>()->observe(Time(pending.select(0, 0)), pending.select(0, 1));
    pending_.clear();
}

void Trainer::save_what_is_there(const std::string& experiment, std::int64_t saved, const TrainingLog& log) {
    const bool mine = leads() || (processes_->rank() == 1 && processes_->lost_leader() &&
                                  processes_->lost() == Processes::Lost::killed);
    if (mine && step_ > saved && sums_.first_bad() < 0) log.save(snapshot(experiment));
}

void Trainer::refuse_bad(std::int64_t bad) const {
    if (bad < 0) return;
    const auto& stage = stage_.spec().name;
    throw Error(
        fmt::format("the loss or its gradient is not finite at step {}", bad + 1),
        fmt::format("its update and those after it were left out of the parameters; lower `lr`, by adding --set "
                    "train.lr={:g} to the command that goes on, or look at the step, by adding --replay {}{}{}",
                    std::min(settings_.lr / 10, 1e-3), stage, stage.empty() ? "" : "/", bad + 1));
}

double Trainer::validate(const Validation& validation, NamedNumbers& values, NamedLists& lists) {
    const auto add = [&](const std::string& whose, const HeldOut& found) {
        values.emplace_back("validate/" + whose + "error", found.error);
        for (const auto& [part, value] : found.parts) values.emplace_back("validate/" + whose + part, value);
        if (!found.by_level.empty()) lists.emplace_back("validate/" + whose + "error_by_level", found.by_level);
        return found.error;
    };
    const double began = monotonic_seconds();
    stage_.train(false);
    auto error = add("", validation.measure());
    if (!averages_.empty()) {
        const Averages::Swapped with(averages_);
        error = add("average_", validation.measure());
    }
    if (stage_.part<Loss>()->draws_times()) lists.emplace_back("validate/log_snr", validation.log_snr());
    stage_.train(true);
    validation_seconds_ += monotonic_seconds() - began;
    return error;
}

void Trainer::run(const std::string& experiment, Progress::Mode mode, const TrainingLog& log) {
    Progress progress("train", settings_.steps, {.mode = mode, .start = step_});
    double shown_loss = std::nan(""), shown_error = std::nan(""), least = log.least_error;
    double began = monotonic_seconds(), saved = began;
    std::int64_t counted = 0, kept = step_;  // steps since `began`; the step of the last checkpoint
    const auto due = [&](std::int64_t every) { return every > 0 && step_ % every == 0; };
    const auto report = [&](NamedNumbers& values, NamedLists& lists) {
        values = sums_.means();
        shown_loss = values.front().second;
        values.emplace_back("train/lr", rate(step_ - 1));
        values.emplace_back("time/steps_per_s",
                            static_cast<double>(counted) / std::max(monotonic_seconds() - began, 1e-9));
        lists.emplace_back("train/loss_by_noise", sums_.error_by_noise());
        sums_.clear();
        began = monotonic_seconds();
        counted = 0;
    };

    stage_.train(false);
    std::optional<Validation> validation;
    const auto& looks = stage_.spec().validate;
    if (looks && looks->every > 0 && leads()) {
        validation.emplace(stage_, device_);
        Progress::note("validate " + validation->in_words());
    }
    stage_.train(true);
    BatchQueue batches(stage_, device_, step_, parts_);
    while (step_ < settings_.steps) {
        try {
            one_step(batches);
        } catch (...) {
            if (processes_ && processes_->lost() != Processes::Lost::none) save_what_is_there(experiment, kept, log);
            throw;
        }
        ++counted;
        const bool last = step_ == settings_.steps, stopping = processes_ ? stopping_ : log.stop();
        const bool reports = last || due(settings_.log_every), validates = validation && (last || due(looks->every));
        bool best = false;
        if (reports || validates) {
            const auto bad = sums_.first_bad();  // the one wait for the device in an interval
            NamedNumbers values;
            NamedLists lists;
            if (reports) report(values, lists);
            if (validates && bad < 0) {
                const double paused = monotonic_seconds();
                shown_error = validate(*validation, values, lists);
                best = shown_error < least;
                if (best) least = shown_error;
                began += monotonic_seconds() - paused;
            }
            if (!values.empty() && leads()) log.metrics(step_, values, lists);
            refuse_bad(bad);
        }
        progress.at(step_, [&] {
            auto now = fmt::format("lr {:.1e}", rate(step_ - 1));
            if (!std::isnan(shown_error)) now = fmt::format("held out {:.4g}  {}", shown_error, now);
            return std::isnan(shown_loss) ? now : fmt::format("loss {:.4g}  {}", shown_loss, now);
        });
        const bool by_clock =
            settings_.checkpoint_minutes > 0 && monotonic_seconds() - saved > 60 * settings_.checkpoint_minutes;
        if (last || stopping || by_clock || best || due(settings_.checkpoint_every) || due(settings_.keep_every)) {
            refuse_bad(sums_.first_bad());
            if (leads()) log.save(snapshot(experiment));
            saved = monotonic_seconds();
            kept = step_;
        }
        if (log.snapshot && leads() && (due(settings_.snapshot_every) || (last && settings_.snapshot_every > 0))) {
            refuse_bad(sums_.first_bad());
            log.snapshot(step_, averages_.powers());
        }
        if (stopping && !last) throw Interrupted(fmt::format("stopped after step {}", step_));
        if (!last && leads() && due(settings_.sample_every)) {
            stage_.train(false);
            const Averages::Swapped with(averages_);
            log.sample(step_);
            stage_.train(true);
        }
    }
    progress.finish();
    stage_.train(false);
}

}  // namespace dtk
