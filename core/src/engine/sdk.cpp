// What the SDK's headers declare and every plugin shares.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/bernoulli.hpp>
#include <dtk/classifier.hpp>
#include <dtk/learned_schedule.hpp>
#include <dtk/loss.hpp>
#include <dtk/metric.hpp>
#include <dtk/model.hpp>
#include <dtk/relative_step.hpp>
#include <dtk/sampler.hpp>

#include "base/registry.hpp"

namespace dtk {

Module::~Module() = default;
Process::~Process() = default;
GaussianProcess::~GaussianProcess() = default;
BernoulliProcess::~BernoulliProcess() = default;
LearnedSchedule::~LearnedSchedule() = default;
Model::~Model() = default;
Classifier::~Classifier() = default;
Loss::~Loss() = default;
Times::~Times() = default;
Density::~Density() = default;
Dataset::~Dataset() = default;
Metric::~Metric() = default;
View::~View() = default;

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
    auto result = measure(input, random);
    if (version() != before)
        throw PluginError("the metric changed the samples, which others are still to look at",
                          "let it work on a copy: samples.clone()");
    result.card = card();
    if (result.n == 0 && input.samples.defined()) result.n = input.samples.size(0);
    return result;
}

void Process::accept_variance(const std::string& variance) const {
    const auto offered = variances();
    if (std::find(offered.begin(), offered.end(), variance) == offered.end())
        throw Error(fmt::format("the process has no reverse variance `{}`", variance),
                    fmt::format("it has {}", fmt::join(offered, ", ")));
}

namespace {
constexpr std::array<std::string_view, 10> prediction_names{"eps",      "x0",  "v",      "score",  "mean",
                                                            "velocity", "edm", "logits", "frames", "label"};
}  // namespace

std::string_view name_of(Predicts kind) { return prediction_names[static_cast<std::size_t>(kind)]; }

Predicts predicts(std::string_view name) {
    for (std::size_t i = 0; i < prediction_names.size(); ++i)
        if (prediction_names[i] == name) return static_cast<Predicts>(i);
    throw Error(fmt::format("there is no kind of prediction called `{}`", name));
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
        const auto beta = betas(steps).cpu().contiguous();
        known_ = NoiseLevels::from_betas({beta.const_data_ptr<double>(), beta.const_data_ptr<double>() + steps});
        known_of_ = std::move(now);
    }
    return known_;
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

Sampler::Sampler(const Config& config, const View& view) : steps_(config.steps), grid_(config.grid.make(view)) {
    const auto most = view.process().steps();
    if (steps_ > most)
        throw Error(fmt::format("`steps` = {} is more than the {} steps of the process", steps_, most),
                    "lower the sampler's `steps` or raise the process's");
    times(view.process());
}

Sampler::~Sampler() = default;

std::vector<double> Sampler::times(const Process& process) const {
    return grid_->times(process.levels(), steps_ == 0 ? process.steps() : steps_);
}

Tensor rows_at(double t, const Tensor& x) { return at::full({x.size(0)}, t, x.options().dtype(at::kDouble)); }

Prediction relative_step(const GaussianProcess& process, const Tensor& xt, const Tensor& t, const Tensor& mean,
                         const Tensor& logit) {
    const auto wide = xt.to(at::kDouble);  // β is a small difference
    const auto kept = (process.alpha(t, wide) / process.alpha(t - 1, wide)).square(), beta = 1 - kept;
    const auto of_x = [&](const Tensor& coefficient) { return coefficient.to(xt.scalar_type()); };
    return {Predicts::mean, of_x(kept.sqrt()) * xt + of_x(beta.sqrt()) * mean, of_x(beta.logit()).add(logit).sigmoid()};
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

const Observation& observation(const Dataset& data, const char* who) {
    if (const auto* known = data.observation()) return *known;
    throw Error(fmt::format("{} needs to be told what is known of the samples", who),
                "use data `observed`, which stands around other data and says what was seen of them");
}

const Density& known_density(const Dataset& data, const char* who) {
    if (const auto* density = data.density()) return *density;
    throw Error(fmt::format("{} needs data whose density is known", who),
                "use a data set that knows its density, or another metric");
}

}  // namespace dtk
