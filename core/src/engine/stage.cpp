#include "engine/stage.hpp"

#include <fmt/format.h>

namespace dtk {

template <class Part>
std::shared_ptr<Part> Stage::build(const PluginSpec& plugin, Mistakes& mistakes) {
    if (!plugin) return nullptr;
    try {
        return std::static_pointer_cast<Part>(plugin.make(*spec_.reading, *this));
    } catch (const Error& error) {
        mistakes.add_plugin(plugin.place, error);
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
            process_->accept(model_->predicts());
            loss_ = build<Loss>(spec.loss, mistakes);
        } catch (const Error& error) {
            mistakes.add_plugin(spec.model.place, error);
        }
        if (spec.train && model_->parameters().empty())
            mistakes.add(spec.reading->place("train"), fmt::format("model `{}` has no parameters to train", spec.model.name),
                         "remove [train], or use a model that learns");
        if (!spec.reading->find("train") && !model_->parameters().empty())
            mistakes.add(spec.model.place, fmt::format("model `{}` has parameters, and there is no [train]", spec.model.name),
                         "add [train] with steps, or use a model without parameters");
    }
    if (dataset_)
        for (const auto& metric : spec.metrics)
            if (auto made = build<Metric>(metric, mistakes)) metrics_.push_back(std::move(made));
    if (dataset_ && spec.train && dataset_->size() > 0 && spec.train->batch > dataset_->size())
        mistakes.add(spec.reading->place("train"), fmt::format("a batch of {} is more than the {} examples there are", spec.train->batch, dataset_->size()),
                     "make `batch` smaller");
}

std::vector<Module::Named> Stage::named_tensors() const {
    std::vector<Module::Named> all;
    const auto add = [&](const char* part, const Module* module) {
        if (!module) return;
        for (auto& named : module->named_tensors()) all.push_back({fmt::format("{}.{}", part, named.name), named.tensor, named.trained, named.saved});
    };
    add("model", model_.get());
    add("process", process_.get());
    add("loss", loss_.get());
    return all;
}

void Stage::to(at::Device device) {
    for (Module* part : {static_cast<Module*>(model_.get()), static_cast<Module*>(process_.get()), static_cast<Module*>(loss_.get())})
        if (part) part->to(device);
}

void Stage::train(bool on) {
    model_->train(on);
    if (loss_) loss_->train(on);
}

Predict Stage::predict(const Random* random) const {
    const auto ask = [model = model_, random](const Tensor& x, const Tensor& t, Context context) {
        context.random = random;
        return model->forward(x, t, context);
    };
    if (!model_->self_conditions()) return ask;
    // Chen, Zhang & Hinton, "Analog Bits", 2022: in training every second example is shown its own first estimate, in
    // sampling every step is shown the one before.
    const auto estimate = std::make_shared<Tensor>();
    return [ask, estimate, random, process = process_](const Tensor& x, const Tensor& t, Context context) {
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

Predict clipped(Predict predict, const Process& process, double lo, double hi) {
    return [predict = std::move(predict), &process, lo, hi](const Tensor& x, const Tensor& t, const Context& context) {
        const auto prediction = predict(x, t, context);
        return Prediction{Predicts::x0, process.convert(prediction, Predicts::x0, x, t).clamp(lo, hi), prediction.variance};
    };
}

}  // namespace dtk
