#include "engine/stage.hpp"

#include <ATen/autocast_mode.h>
#include <fmt/format.h>

namespace dtk {

template <class Part>
std::shared_ptr<Part> Stage::build(const PluginSpec& plugin, Mistakes& mistakes) {
    if (!plugin) return nullptr;
    try {
        return std::static_pointer_cast<Part>(plugin.make(*spec_.reading, *this));
    } catch (const Error& error) {
        // What is wrong with the part it asked for has been said.
        if (!asked_in_vain_ || mistakes.empty()) mistakes.add_plugin(plugin.place, error);
        asked_in_vain_ = false;
        return nullptr;
    }
}

Stage::Stage(StageSpec& spec, std::int64_t seed, Artefacts artefacts, bool running, Mistakes& mistakes)
    : spec_(spec), seed_(seed), artefacts_(std::move(artefacts)), running_(running) {
    dataset_ = build<Dataset>(spec.dataset, mistakes);
    process_ = build<Process>(spec.process, mistakes);
    if (dataset_ && process_) model_ = build<Model>(spec.model, mistakes);
    if (process_) sampler_ = build<Sampler>(spec.sampler, mistakes);
    if (model_) {
        try {
            if (model_->predicts() != Predicts::label)
                process_->accept(model_->predicts());
            else if (spec.sample)
                mistakes.add(spec.model.place,
                             fmt::format("`{}` is a classifier, which samples cannot be drawn from", spec.model.name),
                             "remove [sample]");
            loss_ = build<Loss>(spec.loss, mistakes);
        } catch (const Error& error) {
            mistakes.add_plugin(spec.model.place, error);
        }
        if (spec.train && model_->parameters().empty())
            mistakes.add(spec.reading->place("train"),
                         fmt::format("model `{}` has no parameters to train", spec.model.name),
                         "remove [train], or use a model that learns");
        if (!spec.reading->find("train") && !model_->parameters().empty())
            mistakes.add(spec.model.place,
                         fmt::format("model `{}` has parameters, and there is no [train]", spec.model.name),
                         "add [train] with steps, or use a model without parameters");
    }
    if (dataset_)
        for (const auto& metric : spec.metrics)
            if (auto made = build<Metric>(metric, mistakes)) {
                if (made->needs_samples() && !spec.reading->find("sample"))
                    mistakes.add(metric.place,
                                 fmt::format("`{}` measures samples, and there is no [sample]", metric.name),
                                 "add [sample] with n");
                metrics_.push_back(std::move(made));
            }
    if (dataset_ && spec.sample && spec.sample->start == "quantiles" &&
        dataset_->shape() != std::vector<std::int64_t>{1})
        mistakes.add(spec.reading->place("sample"), "start = \"quantiles\" is for data of one number",
                     "leave it \"random\"");
    if (dataset_ && spec.sample)
        for (const auto label : spec.sample->labels)
            if (label >= dataset_->classes())
                mistakes.add(spec.reading->place("sample"),
                             fmt::format("`labels` asks for class {}, and data `{}` {}", label, spec.dataset.name,
                                         dataset_->classes() == 0
                                             ? "have no classes"
                                             : fmt::format("have classes 0 … {}", dataset_->classes() - 1)));
    if (dataset_ && spec.train && dataset_->size() > 0 && spec.train->batch > dataset_->size())
        mistakes.add(
            spec.reading->place("train"),
            fmt::format("a batch of {} is more than the {} examples there are", spec.train->batch, dataset_->size()),
            "make `batch` smaller");
}

std::vector<Module::Named> Stage::named_tensors() const {
    std::vector<Module::Named> all;
    const auto add = [&](const char* part, const Module* module) {
        if (!module) return;
        for (auto& named : module->named_tensors())
            all.push_back({fmt::format("{}.{}", part, named.name), named.tensor, named.trained, named.saved});
    };
    add("model", model_.get());
    add("process", process_.get());
    add("loss", loss_.get());
    return all;
}

void Stage::to(at::Device device) {
    for (Module* part :
         {static_cast<Module*>(model_.get()), static_cast<Module*>(process_.get()), static_cast<Module*>(loss_.get())})
        if (part) part->to(device);
}

void Stage::train(bool on) {
    model_->train(on);
    if (loss_) loss_->train(on);
}

namespace {
/// Products in bfloat16 for as long as it lives.
class Autocast {
 public:
    explicit Autocast(at::DeviceType device) : device_(device), before_(at::autocast::is_autocast_enabled(device)) {
        at::autocast::set_autocast_dtype(device_, at::kBFloat16);
        at::autocast::set_autocast_enabled(device_, true);
        at::autocast::increment_nesting();
    }
    ~Autocast() {
        if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
        at::autocast::set_autocast_enabled(device_, before_);
    }

 private:
    at::DeviceType device_;
    bool before_;
};

/// Rows first … first + rows − 1, after the last row that row again.
Tensor portion(const Tensor& all, std::int64_t first, std::int64_t rows) {
    if (!all.defined()) return all;
    const auto there = all.slice(0, first, first + rows);
    const auto lacking = rows - there.size(0);
    if (lacking == 0) return there;
    auto sizes = all.sizes().vec();
    sizes[0] = lacking;
    return at::cat({there, all.slice(0, -1).expand(sizes)});
}

Predict in_bf16(Predict ask) {
    return [ask = std::move(ask)](const Tensor& x, const Tensor& t, const Context& context) {
        const Autocast autocast(x.device().type());
        auto prediction = ask(x, t, context);
        prediction.value = prediction.value.to(x.scalar_type());
        return prediction;
    };
}

Predict in_portions(Predict ask, std::int64_t rows) {
    return [ask = std::move(ask), rows](const Tensor& x, const Tensor& t, const Context& context) {
        std::vector<Tensor> values, variances;
        Prediction prediction;
        for (std::int64_t first = 0; first < x.size(0); first += rows) {
            auto part = context;
            for (auto* tensor : {&part.label, &part.mask, &part.self_condition, &part.tokens})
                *tensor = portion(*tensor, first, rows);
            for (auto& [name, tensor] : part.extra) tensor = portion(tensor, first, rows);
            prediction = ask(portion(x, first, rows), portion(t, first, rows), part);
            values.push_back(prediction.value);
            if (prediction.variance) variances.push_back(prediction.variance->expand_as(prediction.value));
        }
        prediction.value = at::cat(values).slice(0, 0, x.size(0));
        if (prediction.variance) prediction.variance = at::cat(variances).slice(0, 0, x.size(0));
        return prediction;
    };
}

/// Chen, Zhang & Hinton, "Analog Bits", 2022: in training every second example is shown its own first estimate, in
/// sampling every step is shown the one before.
Predict self_conditioned(Predict ask, const Random* random, std::shared_ptr<Process> process) {
    const auto estimate = std::make_shared<Tensor>();
    return [ask = std::move(ask), estimate, random, process = std::move(process)](const Tensor& x, const Tensor& t,
                                                                                  Context context) {
        if (random) {
            context.self_condition = at::zeros_like(x);
            const auto first = [&] {
                at::NoGradGuard no_grad;
                return process->convert(ask(x, t, context), Predicts::x0, x, t);
            }();
            auto shown = random->stream("self-condition").uniform({x.size(0)}, x.options()) < 0.5;
            while (shown.dim() < x.dim()) shown = shown.unsqueeze(-1);
            context.self_condition = at::where(shown, first, at::zeros_like(x));
            return ask(x, t, context);
        }
        context.self_condition = estimate->defined() && estimate->sizes() == x.sizes() ? *estimate : at::zeros_like(x);
        auto prediction = ask(x, t, context);
        *estimate = process->convert(prediction, Predicts::x0, x, t).detach();
        return prediction;
    };
}

Predict clipped(Predict ask, std::shared_ptr<Process> process, std::pair<double, double> range) {
    return [ask = std::move(ask), process = std::move(process), range](const Tensor& x, const Tensor& t,
                                                                       const Context& context) {
        const auto prediction = ask(x, t, context);
        return Prediction{Predicts::x0,
                          process->convert(prediction, Predicts::x0, x, t).clamp(range.first, range.second),
                          prediction.variance};
    };
}
}  // namespace

Predict Stage::predict(const Asking& asking) const {
    Predict ask = [model = model_, random = asking.random](const Tensor& x, const Tensor& t, Context context) {
        context.random = random;
        return model->forward(x, t, context);
    };
    if (asking.bf16) ask = in_bf16(std::move(ask));
    if (asking.rows > 0) ask = in_portions(std::move(ask), asking.rows);
    ask = [ask = std::move(ask), rows = rows_asked_](const Tensor& x, const Tensor& t, const Context& context) {
        *rows += x.size(0);
        return ask(x, t, context);
    };
    if (model_->self_conditions()) ask = self_conditioned(std::move(ask), asking.random, process_);
    if (asking.clip && model_->predicts() != Predicts::label) ask = clipped(std::move(ask), process_, *asking.clip);
    return ask;
}

}  // namespace dtk
