// Blocks that networks of images and texts are made of, against their formulas written out.
#include <cmath>
#include <map>

#include <torch/csrc/autograd/autograd.h>

#include <dtk/image_blocks.hpp>

#include "catch.hpp"
#include "support.hpp"

namespace {

using at::Tensor;
using dtk::Random;
using dtk::ResidualBlock;

/// The module's tensors by name, moved away from where they begin, as float64.
std::map<std::string, Tensor> moved(const dtk::Module& module) {
    const at::NoGradGuard no_grad;
    std::map<std::string, Tensor> all;
    for (const auto& named : module.named_tensors()) {
        named.tensor->add_(0.3 * Random(5, named.name).normal(named.tensor->sizes(), at::kFloat));
        all[named.name] = named.tensor->detach().to(at::kDouble);
    }
    return all;
}

Tensor drawn(const std::string& name, at::IntArrayRef sizes) { return Random(1, name).normal(sizes, at::kFloat); }

Tensor linear(const std::map<std::string, Tensor>& w, const std::string& name, const Tensor& x) {
    return at::matmul(x, w.at(name + ".weight").t()) + w.at(name + ".bias");
}

Tensor layer_norm(const std::map<std::string, Tensor>& w, const std::string& name, const Tensor& x) {
    const auto mean = x.mean(-1, true), variance = (x - mean).square().mean(-1, true);
    return (x - mean) / (variance + 1e-5).sqrt() * w.at(name + ".weight") + w.at(name + ".bias");
}

/// softmax(q kᵀ/√d) v of those tokens that there are, row by row and head by head.
Tensor attention(const std::map<std::string, Tensor>& w, const std::string& name, const Tensor& x, const Tensor& from,
                 const Tensor& mask, std::int64_t heads) {
    const auto width = x.size(2), d = width / heads;
    const auto q = linear(w, name + "q", x), kv = linear(w, name + "kv", from);
    auto mixed = at::zeros_like(q);
    for (std::int64_t row = 0; row < x.size(0); ++row) {
        const auto there = mask.defined() ? mask[row].nonzero().flatten() : at::arange(from.size(1));
        for (std::int64_t head = 0; head < heads; ++head) {
            const auto of = [&](const Tensor& all, std::int64_t begin) {
                return all[row].slice(1, begin + head * d, begin + (head + 1) * d);
            };
            const auto k = of(kv, 0).index_select(0, there), v = of(kv, width).index_select(0, there);
            const auto score = (at::matmul(of(q, 0), k.t()) / std::sqrt(static_cast<double>(d))).exp();
            of(mixed, 0).copy_(at::matmul(score / score.sum(1, true), v));
        }
    }
    return linear(w, name + "out", mixed);
}

Tensor group_norm(const std::map<std::string, Tensor>& w, const std::string& name, const Tensor& x,
                  std::int64_t groups) {
    const auto flat = x.reshape({x.size(0), groups, -1});
    const auto mean = flat.mean(2, true), variance = (flat - mean).square().mean(2, true);
    const auto normal = ((flat - mean) / (variance + 1e-5).sqrt()).view(x.sizes());
    return normal * w.at(name + ".weight").view({1, -1, 1, 1}) + w.at(name + ".bias").view({1, -1, 1, 1});
}

Tensor swish(const Tensor& x) { return x / (1 + (-x).exp()); }

Tensor convolved(const std::map<std::string, Tensor>& w, const std::string& name, const Tensor& x) {
    const auto& weight = w.at(name + ".weight");
    return at::conv2d(x, weight, w.at(name + ".bias"), 1, weight.size(2) / 2);
}

}  // namespace

TEST_CASE("attention is that of the tokens that there are, in every head") {
    const at::NoGradGuard no_grad;
    const dtk::MultiHeadAttention block(Random(2, "attention"), 12, 3, 5);
    const auto w = moved(block);
    const auto x = drawn("x", {2, 7, 12}), from = drawn("from", {2, 4, 5});
    const auto mask = at::tensor({1., 1., 0., 1., 1., 0., 0., 0.}).view({2, 4});
    for (const auto& which : {Tensor(), mask}) {
        const auto wanted = attention(w, "", x.to(at::kDouble), from.to(at::kDouble), which, 3);
        CHECK(support::distance(block(x, from, which).to(at::kDouble), wanted) < 2e-5);
    }
    CHECK_THROWS_AS(dtk::MultiHeadAttention(Random(2, "attention"), 12, 5, 5), dtk::Error);
}

TEST_CASE("a residual block adds the embedding, or scales and shifts by it, at the same, half or twice the size") {
    const at::NoGradGuard no_grad;
    for (const bool scale_shift : {false, true})
        for (const auto size : {ResidualBlock::Size::same, ResidualBlock::Size::half, ResidualBlock::Size::twice})
            for (const std::int64_t out : {8, 12}) {
                const ResidualBlock block(Random(2, "block"), "site", {8, out, 6, 4, 0, scale_shift, size});
                const auto x = drawn("x", {3, 8, 4, 6}), embedding = drawn("embedding", {3, 6});
                const auto resized = [&](const Tensor& of) {
                    if (size == ResidualBlock::Size::same) return of;
                    if (size == ResidualBlock::Size::half)
                        return of.view({of.size(0), of.size(1), of.size(2) / 2, 2, of.size(3) / 2, 2}).mean({3, 5});
                    return of.repeat_interleave(2, 2).repeat_interleave(2, 3);
                };
                // It begins as what is passed by.
                if (out == 8) CHECK(support::distance(block(x, {.embedding = embedding}), resized(x)) < 1e-6);
                const auto w = moved(block);
                const auto in = x.to(at::kDouble);
                auto h = convolved(w, "conv1", resized(swish(group_norm(w, "norm1", in, 4))));
                const auto told = linear(w, "time", embedding.to(at::kDouble)).unsqueeze(2).unsqueeze(3);
                h = scale_shift ? group_norm(w, "norm2", h, 4) * (1 + told.slice(1, 0, out)) + told.slice(1, out)
                                : group_norm(w, "norm2", h + told, 4);
                const auto by = w.contains("skip.weight") ? convolved(w, "skip", resized(in)) : resized(in);
                const auto wanted = by + convolved(w, "conv2", swish(h));
                CHECK(support::distance(block(x, {.embedding = embedding}).to(at::kDouble), wanted) < 1e-4);
            }
}

TEST_CASE("a spatial transformer is its three layers, each passed by, and begins as nothing") {
    const at::NoGradGuard no_grad;
    const dtk::SpatialTransformer block(Random(2, "block"), 8, 4, 2, 5);
    const auto x = drawn("x", {2, 8, 3, 2}), tokens = drawn("tokens", {2, 4, 5});
    const auto mask = at::tensor({1., 0., 1., 1., 1., 0., 0., 0.}).view({2, 4});
    const dtk::BlockInput told{.tokens = tokens, .token_mask = mask};
    CHECK(support::distance(block(x, told), x) < 1e-6);
    const auto w = moved(block);
    const auto in = x.to(at::kDouble);
    auto h = linear(w, "in", group_norm(w, "norm", in, 4).permute({0, 2, 3, 1}).reshape({2, 6, 8}));
    const auto alone = layer_norm(w, "norm_self", h);
    h = h + attention(w, "self.", alone, alone, {}, 2);
    h = h + attention(w, "text.", layer_norm(w, "norm_text", h), tokens.to(at::kDouble), mask, 2);
    const auto both = linear(w, "last.in", layer_norm(w, "norm_last", h)).chunk(2, 2);
    const auto gelu = both[1] * 0.5 * (1 + at::erf(both[1] / std::sqrt(2.0)));
    h = h + linear(w, "last.out", both[0] * gelu);
    const auto wanted = in + linear(w, "out", h).view({2, 3, 2, 8}).permute({0, 3, 1, 2});
    CHECK(support::distance(block(x, told).to(at::kDouble), wanted) < 1e-4);
    CHECK_THROWS_WITH(block(x, {}), Catch::Matchers::Contains("reads texts was given none"));
}

TEST_CASE("inner values that are computed again give the gradients that kept ones give, to the bit") {
    const dtk::SpatialTransformer block(Random(2, "block"), 8, 4, 2, 5);
    moved(block);
    const auto gradients = [&](bool recompute) {
        const auto x = drawn("x", {2, 8, 3, 2}).requires_grad_(true),
                   tokens = drawn("tokens", {2, 4, 5}).requires_grad_(true);
        const auto y = block(x, {.tokens = tokens, .recompute = recompute});
        auto of = block.parameters();
        of.insert(of.end(), {x, tokens});
        return torch::autograd::grad({(y * drawn("weight", {2, 8, 3, 2})).sum()}, of);
    };
    const auto kept = gradients(false), again = gradients(true);
    for (std::size_t i = 0; i < kept.size(); ++i) {
        CHECK(kept[i].ne(0).any().item<bool>());
        CHECK(at::equal(kept[i], again[i]));
    }
}
