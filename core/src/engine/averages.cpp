// Running averages of the trained tensors.
#include "engine/averages.hpp"

#include "engine/blocks.hpp"

namespace dtk {

Averages::Averages(const Stage& stage, const Parameters& parameters)
    : names_(parameters.names), parameters_(parameters.tensors) {
    const auto laws = stage.list<Average>();
    for (std::size_t i = 0; i < laws.size(); ++i) {
        One one{stage.spec().list("average")[i].label, laws[i], {}};
        for (const auto& p : parameters_) one.tensors.push_back(p.detach().clone());
        all_.push_back(std::move(one));
    }
}

void Averages::update(std::int64_t step) {
    for (auto& one : all_) {
        const double share = 1 - one.law->keep(step);
        if (const auto blocks = Blocks::of({&one.tensors, &parameters_}))
            approach(*blocks, share);
        else
            at::_foreach_lerp_(one.tensors, parameters_, share);
    }
}

std::vector<PowerAverage> Averages::powers() const {
    const auto now = state();
    std::vector<PowerAverage> all;
    for (const auto& one : all_)
        if (const auto power = one.law->power()) all.push_back({one.name, *power, now.at(one.name)});
    return all;
}

std::map<std::string, NamedTensors> Averages::state() const {
    std::map<std::string, NamedTensors> state;
    for (const auto& one : all_)
        for (std::size_t i = 0; i < names_.size(); ++i) state[one.name].emplace(names_[i], one.tensors[i]);
    return state;
}

void Averages::restore(const std::map<std::string, NamedTensors>& state) {
    at::NoGradGuard no_grad;
    for (auto& one : all_) {
        const auto there = state.find(one.name);
        for (std::size_t i = 0; i < names_.size(); ++i) {
            if (there == state.end() || !there->second.contains(names_[i]))
                throw Error("the checkpoint lacks the average `" + one.name + "` of `" + names_[i] + "`",
                            "training cannot go on from it");
            one.tensors[i].copy_(there->second.at(names_[i]));
        }
    }
}

Averages::Swapped::Swapped(Averages& averages) : averages_(averages) { swap(); }
Averages::Swapped::~Swapped() { swap(); }

void Averages::Swapped::swap() {
    if (averages_.empty()) return;
    at::NoGradGuard no_grad;
    auto& first = averages_.all_.front().tensors;
    for (std::size_t i = 0; i < first.size(); ++i) {
        const auto kept = averages_.parameters_[i].clone();
        averages_.parameters_[i].copy_(first[i]);
        first[i].copy_(kept);
    }
}

}  // namespace dtk
