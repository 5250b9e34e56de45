// What the SDK's headers declare and every plugin shares.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/bernoulli.hpp>
#include <dtk/classifier.hpp>
#include <dtk/conditioner.hpp>
#include <dtk/frame_process.hpp>
#include <dtk/learned_schedule.hpp>
#include <dtk/loss.hpp>
#include <dtk/metric.hpp>
#include <dtk/model.hpp>
#include <dtk/noise_scale.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/relative_step.hpp>
#include <dtk/sampler.hpp>
#include <dtk/times.hpp>

#include "base/registry.hpp"

namespace dtk {

Module::~Module() = default;
Process::~Process() = default;
GaussianProcess::~GaussianProcess() = default;
ScaledNoise::~ScaledNoise() = default;
FrameProcess::~FrameProcess() = default;
FrameDiffusion::~FrameDiffusion() = default;
BernoulliProcess::~BernoulliProcess() = default;
LearnedSchedule::~LearnedSchedule() = default;
Model::~Model() = default;
Classifier::~Classifier() = default;
Loss::~Loss() = default;
Times::~Times() = default;
Density::~Density() = default;
Dataset::~Dataset() = default;
Metric::~Metric() = default;
Optimizer::~Optimizer() = default;
Average::~Average() = default;
BuildContext::~BuildContext() = default;

std::optional<bool> MetricResult::passes() const {
    const double sign = card.better == Better::more ? -1 : 1;
    if (limit) return sign * value <= sign * *limit;
    if (!expected) return std::nullopt;
    const double away = value - *expected;
    return (card.better == Better::nearest ? std::abs(away) : sign * away) <= 4 * expected_sd + tolerance;
}

MetricResult Metric::evaluate(const EvaluationInput& input, const Random& random) const {
    const auto version = [&] { return input.samples.defined() ? input.samples._version() : 0; };
    const auto before = version();
    const bool finite = !input.samples.defined() || input.samples.isfinite().all().item<bool>();
    MetricResult result;
    try {
        result = measure(input, random);
    } catch (const c10::Error&) {
        if (finite) throw;
        throw Error("some samples are not finite numbers, and it cannot measure such",
                    "ask why the sampler draws them");
    }
    if (version() != before)
        throw PluginError("the metric changed the samples, which others are still to look at",
                          "let it work on a copy: samples.clone()");
    result.card = card();
    // However few of them the metric overlooked.
    if (!finite && (std::isfinite(result.value) || result.passes() != false)) result.value = std::nan("");
    if (result.n == 0 && input.samples.defined()) result.n = input.samples.size(0);
    return result;
}

void Process::accept_variance(const std::string& variance) const {
    const auto offered = variances();
    if (std::find(offered.begin(), offered.end(), variance) == offered.end())
        throw Error(fmt::format("the process has no reverse variance `{}`", variance),
                    fmt::format("it has {}", fmt::join(offered, ", ")));
}

ConditionSpace BuildContext::condition_space() const { return dataset().condition_space(); }

Denoiser TrainedNetwork::denoiser() const {
    return {process, [model = model, conditioners = conditioners](const Tensor& x, const Time& t, Condition condition) {
                return model->forward(x, t, conditioned(conditioners, std::move(condition), x.size(0)));
            }};
}

NoisySample Process::noised(const Tensor& x0, const Time& t, const Random& random) const {
    const auto variate = noise(x0.sizes(), x0.options(), random);
    return {mix(x0, variate, t), variate};
}

namespace {
constexpr std::array<std::string_view, 10> prediction_names{"eps",      "x0",  "v",      "score",  "mean",
                                                            "velocity", "edm", "logits", "frames", "label"};
}  // namespace

std::string_view name_of(PredictionType kind) { return prediction_names[static_cast<std::size_t>(kind)]; }

PredictionType prediction_type(std::string_view name) {
    for (std::size_t i = 0; i < prediction_names.size(); ++i)
        if (prediction_names[i] == name) return static_cast<PredictionType>(i);
    throw Error(fmt::format("there is no type of prediction called `{}`", name));
}

std::vector<Module::Named> Module::named_tensors() const {
    std::vector<Named> all;
    for (const auto& slot : slots_) all.push_back({slot.name, slot.tensor.get(), slot.trained, slot.saved});
    for (const auto& [name, part] : children_)
        for (auto& inner : part->named_tensors())
            all.push_back({name + "." + inner.name, inner.tensor, inner.trained, inner.saved});
    return all;
}

std::vector<Tensor> Module::parameters() const {
    std::vector<Tensor> trained;
    for (const auto& named : named_tensors())
        if (named.trained) trained.push_back(*named.tensor);
    return trained;
}

void Module::to(at::Device device) {
    at::NoGradGuard no_grad;
    for (auto& named : named_tensors()) {
        auto moved = named.tensor->detach().to(device);
        moved.set_requires_grad(named.trained && moved.is_floating_point());
        *named.tensor = std::move(moved);
    }
}

void Module::freeze() {
    for (auto& slot : slots_) {
        slot.trained = false;
        slot.tensor->set_requires_grad(false);
    }
    for (auto& [name, part] : children_) part->freeze();
}

void Module::train(bool on) {
    training_ = on;
    for (auto& [name, part] : children_) part->train(on);
}

Tensor& Module::parameter(const std::string& name, Tensor value) {
    value = value.detach();
    value.set_requires_grad(true);
    return *slots_.emplace_back(Slot{name, std::make_unique<Tensor>(std::move(value)), true, true}).tensor;
}

Tensor& Module::buffer(const std::string& name, Tensor value) {
    return *slots_.emplace_back(Slot{name, std::make_unique<Tensor>(value.detach()), false, true}).tensor;
}

Tensor& Module::constant(const std::string& name, Tensor value) {
    return *slots_.emplace_back(Slot{name, std::make_unique<Tensor>(value.detach()), false, false}).tensor;
}

void Module::add_child(const std::string& name, std::shared_ptr<Module> part) {
    if (!part) throw Error(fmt::format("a module got an empty part `{}`", name));
    children_.emplace_back(name, std::move(part));
}

NoiseLevels LearnedSchedule::levels(std::int64_t steps) const {
    std::vector<std::pair<const void*, std::int64_t>> now;
    for (const auto& named : named_tensors())
        now.emplace_back(named.tensor->unsafeGetTensorImpl(), named.tensor->_version());
    if (now != known_of_ || known_.steps() != steps) {
        at::NoGradGuard no_grad;
        known_ = read(steps);
        known_of_ = std::move(now);
    }
    return known_;
}

Tensor LearnedBetas::log_alpha_bar(const Tensor& t, std::int64_t steps) const {
    const auto table = at::constant_pad_nd((-betas(steps)).log1p().cumsum(0), {1, 0});
    return table.index_select(0, t.to(at::kLong) + 1);
}

NoiseLevels LearnedBetas::read(std::int64_t steps) const {
    const auto beta = betas(steps).cpu().contiguous();
    return NoiseLevels::from_betas({beta.const_data_ptr<double>(), beta.const_data_ptr<double>() + steps});
}

Tensor Density::posterior_variance(const Tensor&, const Tensor&, const Tensor&) const {
    throw Error("the posterior variance of these data has not been worked out",
                "use data for which it has, such as gaussian_mixture");
}

std::shared_ptr<Density> Density::given(const Tensor&, const Tensor&, double) const { return nullptr; }

Tensor Density::nearest_mode(const Tensor& x) const { return at::zeros({x.size(0)}, x.options().dtype(at::kLong)); }

void Sampler::Config::fields(Fields& f) {
    f("steps", steps, at_least(0), "times it visits; 0: every step of the process");
    f("grid", grid, "which times");
}

Sampler::Sampler(const Config& config, const BuildContext& context)
    : steps_(config.steps), grid_(config.grid.make(context)) {
    times(context.process());
}

Sampler::~Sampler() = default;

GaussianSampler::GaussianSampler(const Config& config, const BuildContext& context) : Sampler(config, context) {
    gaussian(context.process(), "this sampler");
}

GaussianSampler::~GaussianSampler() = default;

std::vector<double> Sampler::times(const Process& process) const {
    const auto& levels = process.levels();
    const auto n = steps_ == 0 ? process.steps() : steps_;
    if (process.whole_steps() && n > process.steps())
        throw Error(fmt::format("`steps` = {} is more than the {} steps of the process", n, process.steps()),
                    "lower the sampler's `steps` or raise the process's");
    const auto times = grid_->times(levels, n);
    if (static_cast<std::int64_t>(times.size()) != n)
        throw Error(fmt::format("the grid answers {} times where {} steps were asked for", times.size(), n),
                    "a grid must answer exactly as many times as there are steps");
    for (std::size_t i = 0; i < times.size(); ++i) {
        const double t = times[i];
        if (!(t > -1 && t <= levels.last()))
            throw Error(fmt::format("the grid's time {} of {} is {}, outside −1 < t ≤ {}", i + 1, n, t, levels.last()),
                        "use another grid, or other fields of this one");
        if (i > 0 && !(t < times[i - 1]))
            throw Error(fmt::format("the grid's {} times in {} steps of the process do not fall: {} comes after {}", n,
                                    process.steps(), t, times[i - 1]),
                        "use fewer steps, or another grid");
        if (process.whole_steps() && std::floor(t) != t)
            throw Error(
                fmt::format("the grid's time {} of {} is {}, and the process knows only whole steps", i + 1, n, t),
                "use a grid of whole steps, such as trailing, or a process in continuous time");
    }
    return times;
}

void ignore_step(std::int64_t, const Tensor&) {}

std::vector<Step> steps_along(const std::vector<double>& times) {
    std::vector<Step> steps;
    const auto n = static_cast<std::int64_t>(times.size());
    for (std::int64_t i = 0; i < n; ++i) {
        const bool last = i + 1 == n;
        steps.push_back(
            {i, times[static_cast<std::size_t>(i)], last ? -1 : times[static_cast<std::size_t>(i) + 1], last});
    }
    return steps;
}

Prediction relative_step(const GaussianProcess& process, const Tensor& xt, const Time& t, const Tensor& mean,
                         const Tensor& logit) {
    const auto kept = square(process.alpha(t) / process.alpha(t.minus(1))), beta = 1.0 - kept;
    const auto log_odds = log(beta) - log(kept);
    return {PredictionType::mean, sqrt(kept) * xt + sqrt(beta) * mean,
            (logit.to(xt.scalar_type()) + log_odds).sigmoid()};
}

const FrameProcess& frame_process(const Process& process, const char* who) {
    if (const auto* frames = dynamic_cast<const FrameProcess*>(&process)) return *frames;
    throw Error(std::string(who) + " needs a process of frames",
                "use process = \"se3\" or \"se3_flow\" and their data");
}

const FrameDiffusion& frame_diffusion(const Process& process, const char* who) {
    if (const auto* frames = dynamic_cast<const FrameDiffusion*>(&process)) return *frames;
    throw Error(std::string(who) + " needs a process that adds noise to frames", "use process = \"se3\" and its data");
}

const GaussianProcess& gaussian(const Process& process, const char* who) {
    if (const auto* gaussian = dynamic_cast<const GaussianProcess*>(&process)) return *gaussian;
    throw Error(fmt::format("{} needs a Gaussian process, x_t = α·x_0 + σ·ε", who),
                "use another sampler, loss or model, or process `gaussian`");
}

const BernoulliProcess& bernoulli(const Process& process, const char* who) {
    if (const auto* bernoulli = dynamic_cast<const BernoulliProcess*>(&process)) return *bernoulli;
    throw Error(fmt::format("{} needs a process of bits", who),
                "use process `bernoulli` with data of bits, such as heartbeat");
}

const Density& known_density(const Dataset& data, const char* who) {
    if (const auto* density = data.density()) return *density;
    throw Error(fmt::format("{} needs data whose density is known", who),
                "use a data set that knows its density, or another metric");
}

}  // namespace dtk
