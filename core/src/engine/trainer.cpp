#include "engine/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/engine.hpp"
#include "engine/prefetch.hpp"

namespace dtk {

namespace {

constexpr std::int64_t noise_bins = 10;

/// Adam and AdamW by LibTorch's fused kernels: one call for all tensors, and an update that is not finite is left out
/// on the device itself.
class Optimizer {
 public:
    Optimizer(const TrainSettings& settings, std::vector<Tensor> parameters)
        : settings_(settings), parameters_(std::move(parameters)) {
        for (const auto& p : parameters_) {
            mean_.push_back(at::zeros_like(p));
            square_.push_back(at::zeros_like(p));
            steps_.push_back(at::zeros({}, p.options().dtype(at::kFloat)));
        }
    }

    /// skip: 1 where this step's update must not be made, else 0; a float32 scalar on the device.
    void step(double rate, const Tensor& skip) {
        std::vector<Tensor> gradients;
        for (const auto& p : parameters_) gradients.push_back(p.grad());
        at::_foreach_add_(steps_, 1);
        const auto& s = settings_;
        if (s.optimizer == "adamw")
            at::_fused_adamw_(parameters_, gradients, mean_, square_, {}, steps_, rate, s.beta1, s.beta2,
                              s.weight_decay, s.eps, false, false, {}, skip);
        else
            at::_fused_adam_(parameters_, gradients, mean_, square_, {}, steps_, rate, s.beta1, s.beta2, s.weight_decay,
                             s.eps, false, false, {}, skip);
        at::_foreach_sub_(steps_, at::TensorList(std::vector<Tensor>(steps_.size(), skip)));
    }

    void zero_grad() {
        for (auto& p : parameters_) p.mutable_grad().reset();
    }

    /// The global norm of the gradients; they are scaled to at most `most` where that is positive.
    Tensor clip(double most) {
        std::vector<Tensor> gradients;
        for (auto& p : parameters_) {
            if (!p.grad().defined()) p.mutable_grad() = at::zeros_like(p);
            gradients.push_back(p.grad());
        }
        const auto norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)), 2);
        if (most > 0) at::_foreach_mul_(gradients, (most / (norm + 1e-6)).clamp_max(1));
        return norm;
    }

    std::vector<Tensor>& mean() { return mean_; }
    std::vector<Tensor>& square() { return square_; }
    void set_steps(std::int64_t steps) {
        for (auto& s : steps_) s.fill_(static_cast<double>(steps));
    }

 private:
    const TrainSettings& settings_;
    std::vector<Tensor> parameters_, mean_, square_, steps_;
};

std::map<std::string, Tensor> by_name(const std::vector<std::string>& names, const std::vector<Tensor>& tensors) {
    std::map<std::string, Tensor> map;
    for (std::size_t i = 0; i < tensors.size(); ++i) map.emplace(names[i], tensors[i]);
    return map;
}

void copy_from(std::vector<Tensor>& tensors, const std::vector<std::string>& names,
               const std::map<std::string, Tensor>& source, const char* what) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const auto found = source.find(names[i]);
        if (found == source.end())
            throw Mistaken(fmt::format("the checkpoint lacks {} of `{}`", what, names[i]),
                           "training cannot go on from it");
        tensors[i].copy_(found->second);
    }
}

/// What is summed on the device between two lines of metrics.
struct Sums {
    Tensor loss, norm, bin_loss, bin_count, first_bad;
    std::vector<std::pair<std::string, Tensor>> parts;
    std::int64_t steps = 0;

    explicit Sums(at::Device device) : first_bad(at::full({}, -1, at::TensorOptions(device).dtype(at::kLong))) {
        clear(device);
    }
    void clear(at::Device device) {
        const auto options = at::TensorOptions(device).dtype(at::kDouble);
        loss = at::zeros({}, options), norm = at::zeros({}, options);
        bin_loss = at::zeros({noise_bins}, options), bin_count = at::zeros({noise_bins}, options);
        parts.clear();
        steps = 0;
    }
    /// `error`: what the loss answered, before weighting; `value`: what is minimised. Both [B].
    void add(const Tensor& error, const Tensor& value, const Time& t, const LossValues& values, double share,
             std::int64_t process_steps) {
        loss += value.detach().to(at::kDouble).sum() * share;
        const auto bin =
            t.map([&](double t) {
                 return std::clamp(std::floor((t + 1e-9) * noise_bins / static_cast<double>(process_steps)), 0.0,
                                   static_cast<double>(noise_bins - 1));
             })
                .rows(error)
                .to(at::kLong);
        const auto plain = error.detach().to(at::kDouble);
        bin_loss.index_add_(0, bin, plain);
        bin_count.index_add_(0, bin, at::ones_like(plain));
        for (const auto& [name, part] : values.parts) {
            auto same = std::find_if(parts.begin(), parts.end(), [&](const auto& p) { return p.first == name; });
            if (same == parts.end()) same = parts.insert(parts.end(), {name, at::zeros_like(loss)});
            same->second += part.detach().to(at::kDouble).sum() * share;
        }
    }
};

/// The values that are minimised: times λ(t), and the weight that makes up for how t was drawn.
Tensor weigh(const Stage& stage, const Objective& objective, const SampledTimes& drawn) {
    auto value = objective.value;
    if (objective.error_of) {
        const auto weighting = stage.part<Weighting>();
        const auto& levels = stage.process().levels();
        const auto type = name_of(*objective.error_of);
        const auto* gaussian = dynamic_cast<const GaussianProcess*>(&stage.process());
        const double data_sd = gaussian && type == "edm" ? gaussian->data_sd() : 1;
        const auto weight = drawn.t.map([&](double t) {
            return weighting->weight(levels.at(t), gaussian ? error_per_x0(levels, t, type, data_sd) : 1);
        });
        value = weight * value;
    }
    return drawn.weight.uniform() ? value : drawn.weight * value;
}

/// Gradients for the tensors that the objective trains.
void backward(const Stage& stage, const Objective& objective, const Tensor& sum) {
    if (objective.trains.empty()) return sum.backward();
    std::vector<Tensor> trained;
    for (const auto& named : stage.named_tensors())
        if (named.trained && named.name.starts_with(objective.trains + ".")) trained.push_back(*named.tensor);
    if (trained.empty())
        throw PluginError(fmt::format("loss `{}` trains `{}`, and there is no trained tensor of that path",
                                      stage.spec().part("loss").name, objective.trains));
    sum.backward({}, /*retain_graph=*/true, /*create_graph=*/false, at::TensorList(trained));
}

}  // namespace

WithAverages::WithAverages(const std::vector<Tensor>& tensors, const std::vector<Tensor>& averages)
    : tensors_(tensors), averages_(averages) {
    swap();
}
WithAverages::~WithAverages() { swap(); }
void WithAverages::swap() {
    at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < averages_.size(); ++i) {
        const auto kept = tensors_[i].clone();
        tensors_[i].copy_(averages_[i]);
        averages_[i].copy_(kept);
    }
}

double learning_rate(const TrainSettings& settings, std::int64_t step) {
    const double warm =
        settings.warmup > 0 ? std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(settings.warmup)) : 1;
    if (settings.decay == "none") return settings.lr * warm;
    const double along = std::max<double>(0, static_cast<double>(step - settings.warmup)) /
                         static_cast<double>(settings.steps - settings.warmup);
    return settings.lr * warm * 0.5 * (1 + std::cos(std::numbers::pi * along));
}

Tensor example_numbers(const Dataset& data, std::uint64_t seed, std::int64_t step, std::int64_t batch) {
    const auto n = data.size();
    if (n == 0) return at::arange(step * batch, (step + 1) * batch, at::kLong);
    auto numbers = at::empty({batch}, at::kLong);
    auto* number = numbers.mutable_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < batch; ++i) {
        const auto seen = step * batch + i;
        number[i] = permuted(seen % n, n, seed, seen / n);
    }
    return numbers;
}

void train(Stage& stage, const std::string& experiment, const Checkpoint* from, at::Device device,
           Progress::Mode progress_mode, const TrainingLog& log) {
    const auto& settings = *stage.spec().train;
    const auto process_steps = stage.process().steps();

    std::vector<std::string> names;
    std::vector<Tensor> parameters;
    for (const auto& named : stage.named_tensors())
        if (named.trained) names.push_back(named.name), parameters.push_back(*named.tensor);
    Optimizer optimizer(settings, parameters);
    std::vector<Tensor> averages;
    if (settings.ema > 0)
        for (const auto& p : parameters) averages.push_back(p.detach().clone());

    std::int64_t step = 0;
    if (from) {
        at::NoGradGuard no_grad;
        step = from->step;
        copy_from(optimizer.mean(), names, from->mean, "the optimiser's mean");
        copy_from(optimizer.square(), names, from->square, "the optimiser's square");
        copy_from(averages, names, from->averages, "the average");
        optimizer.set_steps(step);
    }

    const auto snapshot = [&] {
        Checkpoint checkpoint{step,
                              experiment,
                              {},
                              by_name(names, averages),
                              by_name(names, optimizer.mean()),
                              by_name(names, optimizer.square())};
        for (const auto& named : stage.named_tensors())
            if (named.saved) checkpoint.tensors.emplace(named.name, named.tensor->detach());
        return checkpoint;
    };

    Progress progress("train", settings.steps, {.mode = progress_mode, .start = step});
    Sums sums(device);
    double shown_loss = std::nan("");
    double began = monotonic_seconds();
    const auto report = [&] {
        const auto bad = sums.first_bad.item<std::int64_t>();  // the one wait for the device in an interval
        const auto n = static_cast<double>(sums.steps);
        shown_loss = sums.loss.item<double>() / n;
        const double seconds = monotonic_seconds() - began;
        std::vector<std::pair<std::string, double>> values{{"train/loss", shown_loss}};
        for (const auto& [name, part] : sums.parts) values.emplace_back("train/" + name, part.item<double>() / n);
        values.emplace_back("train/grad_norm", sums.norm.item<double>() / n);
        values.emplace_back("train/lr", learning_rate(settings, step - 1));
        values.emplace_back("time/steps_per_s", n / std::max(seconds, 1e-9));
        const auto means = (sums.bin_loss / sums.bin_count).cpu().contiguous();
        log.metrics(step, values, {means.const_data_ptr<double>(), means.const_data_ptr<double>() + noise_bins});
        sums.clear(device);
        began = monotonic_seconds();
        if (bad >= 0)
            throw Error(fmt::format("the loss or its gradient is not finite at step {}", bad + 1),
                        "its update and those after it were left out of the parameters; lower `lr`, or look at the "
                        "data and the loss");
    };

    stage.train(true);
    const auto parts = settings.accumulate, rows = settings.batch / parts;
    const double share = 1.0 / static_cast<double>(settings.batch);
    Prefetch batches(
        [&, numbers = Tensor()](std::int64_t number) mutable {
            const auto part = number % parts;
            if (part == 0 || !numbers.defined())
                numbers = example_numbers(stage.dataset(), stage.data_seed(), number / parts, settings.batch);
            auto batch = stage.dataset().examples(numbers.slice(0, part * rows, (part + 1) * rows));
            batch.first = part * rows, batch.of = settings.batch;
            if (device.is_cuda()) batch.x = batch.x.pin_memory();
            return batch;
        },
        step * parts, settings.steps * parts);
    while (step < settings.steps) {
        const auto random = stage.random("train").step(step);
        optimizer.zero_grad();
        auto finite = at::ones({}, at::TensorOptions(device).dtype(at::kBool));
        for (std::int64_t part = 0; part < parts; ++part) {
            auto batch = batches.next();
            batch.x = batch.x.to(device, /*non_blocking=*/true);
            batch.condition = batch.condition.to(device);
            const auto draws = random.from(part * rows);
            if (settings.drop_condition > 0)
                batch.condition.given =
                    draws.stream("drop").uniform({rows}, at::TensorOptions(device)) >= settings.drop_condition;
            const auto loss = stage.part<Loss>();
            auto drawn = stage.part<Times>()->draw(batch, stage.process(), draws.stream("t"));
            if (!loss->draws_times()) drawn.weight = 1;
            const auto denoise =
                stage.denoiser({.random = &draws, .bf16 = settings.precision == "bf16"}, batch.condition);
            const auto values = (*loss)(denoise, batch, drawn.t, draws);
            for (std::size_t i = 0; i < values.objectives.size(); ++i) {
                const auto& objective = values.objectives[i];
                if (objective.value.dim() != 1 || objective.value.size(0) != rows)
                    throw PluginError(
                        fmt::format("loss `{}` answers a tensor of shape [{}] for {} examples",
                                    stage.spec().part("loss").name, fmt::join(objective.value.sizes(), ", "), rows),
                        "a loss answers one number for each example, shape [B]");
                const auto weighted = weigh(stage, objective, drawn);
                const auto sum = weighted.sum() * share;
                backward(stage, objective, sum);
                finite = finite.logical_and(sum.detach().isfinite());
                if (i == 0) sums.add(objective.value, weighted, drawn.t, values, share, process_steps);
            }
        }
        {
            at::NoGradGuard no_grad;
            const auto norm = optimizer.clip(settings.clip);
            finite = finite.logical_and(norm.isfinite());
            // From the first step that is not finite on nothing is updated, until the host looks.
            sums.first_bad =
                at::where(finite.logical_or(sums.first_bad >= 0), sums.first_bad, at::full_like(sums.first_bad, step));
            const auto skip = (sums.first_bad >= 0).to(at::kFloat);
            optimizer.step(learning_rate(settings, step), skip);
            sums.norm += norm.to(at::kDouble);
            const double decay =
                std::min(settings.ema, (1 + static_cast<double>(step)) / (10 + static_cast<double>(step)));
            if (!averages.empty()) at::_foreach_lerp_(averages, parameters, 1 - decay);
        }
        ++step, ++sums.steps;
        const bool last = step == settings.steps, stopping = log.stop();
        if (last || stopping || step % settings.log_every == 0) report();
        progress.at(step, [&] {
            const auto rate = fmt::format("lr {:.1e}", learning_rate(settings, step - 1));
            return std::isnan(shown_loss) ? rate : fmt::format("loss {:.4g}  {}", shown_loss, rate);
        });
        if (last || stopping || (settings.checkpoint_every > 0 && step % settings.checkpoint_every == 0)) {
            if (sums.steps > 0) report();
            log.save(snapshot());
        }
        if (stopping && !last) throw Interrupted(fmt::format("stopped after step {}", step));
        if (!last && settings.sample_every > 0 && step % settings.sample_every == 0) {
            stage.train(false);
            const WithAverages with(parameters, averages);
            log.sample(step);
            stage.train(true);
        }
    }
    progress.finish();
    stage.train(false);
}

}  // namespace dtk
