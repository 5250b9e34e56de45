// Loops that stand for LibTorch's operations on the CPU do what those do: mean squares, the sines of a time, what is
// done to all tensors at once.
#include <cmath>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/forward_grad.h>

#include <dtk/layers.hpp>
#include <dtk/mean_squares.hpp>
#include <dtk/process.hpp>

#include "catch.hpp"
#include "engine/blocks.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;

namespace {
Tensor drawn(const std::string& name, at::IntArrayRef sizes, at::ScalarType type = at::kFloat) {
    return dtk::Random(3, name).normal(sizes, type);
}

std::vector<Tensor> list(const std::string& name, at::ScalarType type) {
    // One of many stretches, one of several, small ones, one laid out otherwise.
    std::vector<Tensor> all;
    for (const std::vector<std::int64_t>& sizes :
         std::vector<std::vector<std::int64_t>>{{300, 257}, {5000}, {3}, {1, 1}, {4, 6, 3, 3}})
        all.push_back(drawn(name + std::to_string(all.size()), sizes, type));
    all.back() = all.back().contiguous(at::MemoryFormat::ChannelsLast);
    return all;
}

std::vector<Tensor> in_double(const std::vector<Tensor>& all) {
    std::vector<Tensor> wide;
    for (const auto& x : all) wide.push_back(x.to(at::kDouble).clone());
    return wide;
}
}  // namespace

TEST_CASE("a mean of squares is that of every row, with its first and second derivatives") {
    for (const auto type : {at::kFloat, at::kDouble})
        for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{{7, 2}, {3, 2, 5, 4}}) {
            const auto plain = [](const Tensor& e) { return e.square().flatten(1).mean(1); };
            const auto e = drawn("e", sizes, type).set_requires_grad(true), weight = drawn("w", {sizes[0]}, type);
            const auto of = [&](const Tensor& y) {
                const auto first = torch::autograd::grad({(y * weight).sum()}, {e}, {}, std::nullopt, true);
                const auto second = torch::autograd::grad({first[0].pow(3).sum()}, {e});
                return std::vector{y.detach(), first[0].detach(), second[0]};
            };
            const auto ours = of(dtk::mean_squares(e)), theirs = of(plain(e));
            const double rounding = type == at::kFloat ? 1e-6 : 1e-14;
            for (std::size_t i = 0; i < ours.size(); ++i)
                CHECK(distance(ours[i], theirs[i]) <= rounding * theirs[i].abs().max().item<double>());
        }
    const auto level = torch::autograd::ForwardADLevel::get_next_idx();
    const auto e = drawn("e", {4, 3}), way = drawn("way", {4, 3});
    CHECK(distance(dtk::mean_squares(at::_make_dual(e, way, 0))._fw_grad(0), 2 * (e * way).mean(1)) < 1e-6);
    torch::autograd::ForwardADLevel::release_idx(level);
}

TEST_CASE("the sines of a time are those of LibTorch, and of its derivative in forward mode") {
    const dtk::SinusoidalEmbedding waves(64);
    const auto t = at::linspace(-1000, 1000, 2311, at::kDouble);
    std::vector<float> frequency;
    for (int k = 0; k < 32; ++k) frequency.push_back(static_cast<float>(std::pow(1e4, -k / 31.0)));
    const auto angle = t.to(at::kFloat).unsqueeze(1) * at::tensor(frequency);
    const auto ours = waves(t);
    CHECK(distance(ours.slice(1, 0, 32), angle.to(at::kDouble).sin()) < 3e-7);
    CHECK(distance(ours.slice(1, 32), (angle + static_cast<float>(M_PI / 2)).to(at::kDouble).sin()) < 3e-7);
    CHECK(distance(waves(t * 100).slice(1, 0, 32), (angle * 100).to(at::kDouble).sin()) < 2e-2);  // by LibTorch
    const auto level = torch::autograd::ForwardADLevel::get_next_idx();
    CHECK(waves(at::_make_dual(t, at::ones_like(t), 0))._fw_grad(0).defined());
    torch::autograd::ForwardADLevel::release_idx(level);
}

TEST_CASE("what is done to all tensors at once is what their formulas say") {
    for (const auto type : {at::kFloat, at::kDouble}) {
        const double rounding = type == at::kFloat ? 2e-6 : 1e-14;
        auto x = list("x", type), y = list("y", type);
        const auto blocks = dtk::Blocks::of({&x, &y});
        REQUIRE(blocks);
        double sum = 0;
        for (const auto& one : x) sum += one.to(at::kDouble).square().sum().item<double>();
        CHECK(dtk::squares(*blocks) == Approx(sum).epsilon(rounding));
        for (const double share : {0.01, 0.9, 1.0}) {
            const auto before = in_double(x);
            dtk::approach(*blocks, share);
            for (std::size_t i = 0; i < x.size(); ++i)
                CHECK(distance(x[i].to(at::kDouble), before[i] + share * (y[i].to(at::kDouble) - before[i])) <
                      rounding * 5);
            if (share == 1.0)
                for (std::size_t i = 0; i < x.size(); ++i) CHECK(at::equal(x[i], y[i]));
        }
        const auto before = in_double(x);
        dtk::scale(*blocks, 0.3);
        for (std::size_t i = 0; i < x.size(); ++i)
            CHECK(distance(x[i].to(at::kDouble), 0.3 * before[i]) < rounding * 5);
    }
    auto x = list("x", at::kFloat), y = list("y", at::kFloat);
    y.back() = y.back().contiguous();  // laid out otherwise than its twin
    CHECK_FALSE(dtk::Blocks::of({&x, &y}));
    x.back() = x.back().slice(0, 0, 2);
    x.front() = x.front().slice(1, 0, 2);
    CHECK_FALSE(dtk::Blocks::of({&x}));
}

TEST_CASE("a mixture of an example and its noise has the bits of LibTorch's three operations") {
    const auto x = drawn("x", {50, 3, 2}), eps = drawn("eps", {50, 3, 2});
    const auto a = drawn("a", {50}, at::kDouble), b = drawn("b", {50}, at::kDouble);
    const auto ours = dtk::sum_of(dtk::Coefficient::of_rows(a), x, dtk::Coefficient::of_rows(b), eps);
    CHECK(at::equal(ours, a.to(at::kFloat).view({50, 1, 1}) * x + b.to(at::kFloat).view({50, 1, 1}) * eps));
    const auto learned = a.clone().set_requires_grad(true);
    const auto recorded = dtk::sum_of(dtk::Coefficient::of_rows(learned), x, dtk::Coefficient::of_rows(b), eps);
    CHECK(at::equal(recorded.detach(), ours));
    CHECK(recorded.requires_grad());
}
