// State of optimisers.
#include <dtk/moments.hpp>

#include "engine/blocks.hpp"

namespace dtk {

void Moments::begin(const Parameters& parameters, std::vector<std::string> names, bool counted) {
    names_ = std::move(names);
    parameters_ = parameters.names;
    tensors_.assign(names_.size(), {});
    steps_.clear();
    for (const auto& p : parameters.tensors) {
        for (auto& list : tensors_) list.push_back(at::zeros_like(p));
        if (counted) steps_.push_back(at::zeros({}, p.options().dtype(at::kFloat)));
    }
}

NamedTensors Moments::state() const {
    NamedTensors state;
    for (std::size_t i = 0; i < names_.size(); ++i)
        for (std::size_t k = 0; k < parameters_.size(); ++k)
            state.emplace(names_[i] + "." + parameters_[k], tensors_[i][k]);
    if (!steps_.empty()) state.emplace("steps", steps_.front());
    return state;
}

void Moments::restore(const NamedTensors& state) {
    at::NoGradGuard no_grad;
    const auto found = [&](const std::string& name) {
        const auto at = state.find(name);
        if (at == state.end())
            throw Error("the checkpoint lacks the optimiser's `" + name + "`", "training cannot go on from it");
        return at->second;
    };
    for (std::size_t i = 0; i < names_.size(); ++i)
        for (std::size_t k = 0; k < parameters_.size(); ++k)
            tensors_[i][k].copy_(found(names_[i] + "." + parameters_[k]));
    for (auto& steps : steps_) steps.copy_(found("steps"));
}

void AdamMoments::begin(const Parameters& parameters) {
    parameters_ = parameters;
    moments_.begin(parameters, {"mean", "square"}, /*counted=*/true);
}

void AdamMoments::step(const Tensor& rate, const Tensor& skip, const Fields& fields, Decay decay) {
    if (parameters_.tensors.empty()) return;
    const auto g = gradients(parameters_.tensors);
    if (step_in_blocks(g, rate, skip, fields, decay)) return;
    auto& steps = moments_.steps();
    at::_foreach_add_(steps, 1);
    const auto& [beta1, beta2, eps, weight_decay] = fields;
    const bool all_alike = weight_decay == 0;
    for (const bool decays : {true, false}) {
        const auto some = [&](const std::vector<Tensor>& all) {
            return all_alike ? all : marked(all, parameters_.decays, decays);
        };
        const auto tensors = some(parameters_.tensors);
        if (tensors.empty()) continue;
        const double lambda = decays ? weight_decay : 0;
        if (decay == Decay::of_gradient)
            at::_fused_adam_(tensors, some(g), some(moments_[0]), some(moments_[1]), {}, some(steps), rate, beta1,
                             beta2, lambda, eps, false, false, {}, skip);
        else
            at::_fused_adamw_(tensors, some(g), some(moments_[0]), some(moments_[1]), {}, some(steps), rate, beta1,
                              beta2, lambda, eps, false, false, {}, skip);
        if (all_alike) break;
    }
    at::_foreach_sub_(steps, at::TensorList(std::vector<Tensor>(steps.size(), skip)));
}

bool AdamMoments::step_in_blocks(const std::vector<Tensor>& g, const Tensor& rate, const Tensor& skip,
                                 const Fields& fields, Decay decay) {
    const auto blocks = Blocks::of({&parameters_.tensors, &g, &moments_[0], &moments_[1]});
    if (!blocks || !rate.is_cpu() || !skip.is_cpu()) return false;
    if (*skip.const_data_ptr<float>() != 0) return true;
    for (auto& steps : moments_.steps()) *steps.mutable_data_ptr<float>() += 1;
    std::vector<double> lambda;
    for (const bool decays : parameters_.decays) lambda.push_back(decays ? fields.weight_decay : 0);
    adam(*blocks, lambda,
         {.rate = *rate.const_data_ptr<float>(),
          .beta1 = fields.beta1,
          .beta2 = fields.beta2,
          .eps = fields.eps,
          .made = *moments_.steps().front().const_data_ptr<float>(),
          .decays_weights = decay == Decay::of_weights});
    Blocks::written(parameters_.tensors);
    return true;
}

void descend(const Parameters& parameters, const std::vector<Tensor>& delta, const Tensor& rate, double decay,
             const Tensor& skip) {
    for (const bool decays : {true, false}) {
        const auto some = [&](const std::vector<Tensor>& all) {
            return decay == 0 ? all : marked(all, parameters.decays, decays);
        };
        if (const auto tensors = some(parameters.tensors); !tensors.empty())
            at::_fused_sgd_(tensors, some(delta), {}, decays ? decay : 0, 0, rate, 0, false, false, false, {}, skip);
        if (decay == 0) break;
    }
}

void average(const std::vector<Tensor>& mean, const std::vector<Tensor>& value, double beta, const Tensor& skip) {
    if (mean.empty()) return;
    at::_fused_sgd_(mean, at::_foreach_sub(mean, value), {}, 0, 0, 1 - beta, 0, false, false, false, {}, skip);
}

std::vector<Tensor> gradients(const std::vector<Tensor>& tensors) {
    std::vector<Tensor> all;
    for (const auto& tensor : tensors) {
        if (!tensor.grad().defined()) tensor.mutable_grad() = at::zeros_like(tensor);
        all.push_back(tensor.grad());
    }
    return all;
}

std::vector<Tensor> marked(const std::vector<Tensor>& all, const std::vector<bool>& marks, bool value) {
    std::vector<Tensor> some;
    for (std::size_t i = 0; i < all.size(); ++i)
        if (marks[i] == value) some.push_back(all[i]);
    return some;
}

Parameters marked(const Parameters& all, const std::vector<bool>& marks, bool value) {
    Parameters some;
    for (std::size_t i = 0; i < marks.size(); ++i) {
        if (marks[i] != value) continue;
        some.names.push_back(all.names[i]);
        some.tensors.push_back(all.tensors[i]);
        some.decays.push_back(all.decays[i]);
    }
    return some;
}

}  // namespace dtk
