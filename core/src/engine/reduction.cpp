// Sums over the parts of a batch.
#include "engine/reduction.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "base/engine.hpp"

namespace dtk {

BatchParts batch_parts(const TrainSettings& settings, const Processes* processes) {
    const auto size = processes ? processes->size() : 1, rank = processes ? processes->rank() : 0;
    if (settings.is_strict() && settings.parts % size != 0)
        throw UserError(fmt::format("{} processes cannot share the {} parts of a batch evenly", size, settings.parts),
                        "start a power of two of them; `parts` in [train] is how many there can be");
    // No part is larger than `accumulate` says, and every process has as many.
    const auto parts = settings.is_strict() ? settings.parts : std::lcm(settings.accumulate, size);
    if (settings.batch % parts != 0)
        throw UserError(fmt::format("a batch of {} cannot be computed in {} equal parts by {} processes",
                                    settings.batch, parts, size),
                        fmt::format("make `batch` in [train] a multiple of {}", parts));
    return {.rows = settings.batch / parts, .first = rank * (parts / size), .count = parts / size};
}

namespace {

/// A gradient's place in a block, laid out as its tensor, so that kernels which go through both meet the same elements.
Tensor place_in(const Tensor& block, std::int64_t at, const Tensor& tensor) {
    const auto some = block.slice(0, at, at + tensor.numel());
    return tensor.is_non_overlapping_and_dense() ? some.as_strided(tensor.sizes(), tensor.strides(), at)
                                                 : some.view(tensor.sizes());
}

/// A block for the tensors of each type, and their gradients in it.
std::vector<Tensor> blocks_of(const std::vector<Tensor>& tensors) {
    std::vector<Tensor> blocks;
    std::vector<bool> placed(tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (placed[i]) continue;
        const auto same = [&](const Tensor& x) { return x.scalar_type() == tensors[i].scalar_type(); };
        std::int64_t n = 0, at = 0;
        for (const auto& x : tensors) n += same(x) ? x.numel() : 0;
        const auto block = blocks.emplace_back(at::zeros({n}, tensors[i].options().requires_grad(false)));
        for (std::size_t k = i; k < tensors.size(); ++k) {
            if (!same(tensors[k])) continue;
            tensors[k].mutable_grad() = place_in(block, at, tensors[k]);
            at += tensors[k].numel();
            placed[k] = true;
        }
    }
    return blocks;
}

std::vector<Tensor> added(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    std::vector<Tensor> sum;
    for (std::size_t i = 0; i < a.size(); ++i) sum.push_back(a[i] + b[i]);
    return sum;
}

/// Rows in pairs, pairs of pairs … x: [2^k, N] → [N]
Tensor tree_sum(Tensor x) {
    while (x.size(0) > 1) x = x.slice(0, 0, std::nullopt, 2) + x.slice(0, 1, std::nullopt, 2);
    return x.select(0, 0);
}

}  // namespace

Reduction::Reduction(std::vector<Tensor> tensors, const TrainSettings& settings, Processes* processes)
    : tensors_(std::move(tensors)), strict_(settings.is_strict()), processes_(processes) {}

void Reduction::begin() {
    numbers_ = Tensor();
    nodes_.clear();
    if (!strict_ && !processes_) {
        for (const auto& x : tensors_) x.mutable_grad().reset();
        return;
    }
    if (gradients_.empty() || !tensors_.front().grad().defined()) gradients_ = blocks_of(tensors_);
    for (auto& block : gradients_) block.zero_();
}

void Reduction::add(const Tensor& numbers) {
    at::NoGradGuard no_grad;
    if (!strict_) {
        numbers_ = numbers_.defined() ? numbers_ + numbers : numbers;
        return;
    }
    Node node{0, {}};
    for (auto& block : gradients_) {
        node.sum.push_back(block.clone());
        block.zero_();
    }
    node.sum.push_back(numbers);
    // As a binary counter carries: two sums of as many parts become one.
    while (!nodes_.empty() && nodes_.back().level == node.level) {
        node = {node.level + 1, added(nodes_.back().sum, node.sum)};
        nodes_.pop_back();
    }
    nodes_.push_back(std::move(node));
}

Tensor Reduction::finish() {
    at::NoGradGuard no_grad;
    if (!strict_) {
        if (processes_) {
            for (auto& block : gradients_) processes_->sum(block);
            processes_->sum(numbers_);
        }
        return numbers_;
    }
    auto sum = std::move(nodes_.back().sum);
    nodes_.clear();
    if (processes_)
        for (auto& block : sum) block = tree_sum(processes_->gather(block));
    for (std::size_t i = 0; i < gradients_.size(); ++i) gradients_[i].copy_(sum[i]);
    return sum.back();
}

}  // namespace dtk
