// State of optimisers.
#include <dtk/moments.hpp>

namespace dtk {

void Moments::begin(const Parameters& parameters, std::vector<std::string> names) {
    names_ = std::move(names);
    parameters_ = parameters.names;
    tensors_.assign(names_.size(), {});
    steps_.clear();
    for (const auto& p : parameters.tensors) {
        for (auto& list : tensors_) list.push_back(at::zeros_like(p));
        steps_.push_back(at::zeros({}, p.options().dtype(at::kFloat)));
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

}  // namespace dtk
