// Layers over residues against direct sums in float64, and what they must not see: how all frames are turned and moved,
// residues that a mask leaves out.
#include <cmath>

#include <dtk/rotations.hpp>
#include <dtk/structure.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;

namespace {

const dtk::Random stream(5, "structure");

Tensor normal(const char* name, at::IntArrayRef sizes) { return stream.stream(name).normal(sizes, at::kDouble); }

/// In float64, away from the zeros that last layers start with.
void disturb(dtk::Module& module) {
    at::NoGradGuard no_grad;
    for (const auto& named : module.named_tensors())
        if (named.trained)
            *named.tensor = named.tensor->to(at::kDouble) + 0.2 * normal(named.name.c_str(), named.tensor->sizes());
}

Tensor tensor_of(const dtk::Module& module, const std::string& name) {
    for (const auto& named : module.named_tensors())
        if (named.name == name) return named.tensor->detach();
    FAIL("no tensor " << name);
    return {};
}

constexpr std::int64_t B = 2, L = 6;
const dtk::InvariantPointAttention::Sizes sizes{5, 4, 3, 2, 2, 3};

struct Residues {
    Tensor s = normal("s", {B, L, 5}), z = normal("z", {B, L, L, 4});
    dtk::Frames frames{dtk::uniform_rotations(stream.stream("R"), {B, L, 3, 3}, at::kCPU), 4 * normal("x", {B, L, 3})};
    Tensor mask = at::ones({B, L}, at::kDouble);

    Residues() { mask[1].slice(0, 4).zero_(); }
};

/// Algorithm 22, residue by residue and point by point.
Tensor attended(const dtk::Module& ipa, const Residues& of, std::int64_t b, std::int64_t i) {
    const auto affine = [&](const char* name, const Tensor& x) {
        return at::linear(x, tensor_of(ipa, std::string(name) + ".weight"),
                          tensor_of(ipa, std::string(name) + ".bias"));
    };
    const auto s = of.s[b];
    const auto place = [&](const char* name, std::int64_t residue, std::int64_t head, std::int64_t points,
                           std::int64_t p) {
        const auto local = affine(name, s[residue]).view({sizes.heads, points, 3})[head][p];
        return of.frames.rotation[b][residue].matmul(local) + of.frames.translation[b][residue];
    };
    std::vector<Tensor> scalars, points, lengths, pairs;
    for (std::int64_t h = 0; h < sizes.heads; ++h) {
        const auto of_head = [&](const char* name, std::int64_t residue) {
            return affine(name, s[residue]).view({sizes.heads, sizes.scalars})[h];
        };
        const double gamma = std::log1p(std::exp(tensor_of(ipa, "weight")[h].item<double>()));
        std::vector<double> weight;
        double all = 0;
        for (std::int64_t j = 0; j < L; ++j) {
            double near = 0;
            for (std::int64_t p = 0; p < sizes.query_points; ++p)
                near += (place("query_points", i, h, sizes.query_points, p) -
                         place("key_points", j, h, sizes.query_points, p))
                            .square()
                            .sum()
                            .item<double>();
            const double logit =
                of_head("query", i).dot(of_head("key", j)).item<double>() / std::sqrt(3.0 * sizes.scalars) +
                std::sqrt(1 / 3.0) * affine("bias", of.z[b][i][j])[h].item<double>() -
                0.5 * gamma * std::sqrt(1 / (3 * 4.5 * sizes.query_points)) * near;
            weight.push_back(of.mask[b][j].item<double>() > 0 ? std::exp(logit) : 0);
            all += weight.back();
        }
        auto scalar = at::zeros({sizes.scalars}, at::kDouble), pair = at::zeros({sizes.pair}, at::kDouble);
        for (std::int64_t j = 0; j < L; ++j) {
            scalar += weight[j] / all * of_head("value", j);
            pair += weight[j] / all * of.z[b][i][j];
        }
        scalars.push_back(scalar), pairs.push_back(pair);
        for (std::int64_t p = 0; p < sizes.value_points; ++p) {
            auto seen = at::zeros({3}, at::kDouble);
            for (std::int64_t j = 0; j < L; ++j)
                seen += weight[j] / all * place("value_points", j, h, sizes.value_points, p);
            const auto local = of.frames.rotation[b][i].t().matmul(seen - of.frames.translation[b][i]);
            points.push_back(local), lengths.push_back(local.norm().view({1}));
        }
    }
    return affine("out", at::cat({at::cat(scalars), at::cat(points), at::cat(lengths), at::cat(pairs)}));
}

}  // namespace

TEST_CASE("invariant point attention is algorithm 22, residue by residue") {
    const Residues of;
    dtk::InvariantPointAttention ipa(stream, sizes);
    disturb(ipa);
    at::NoGradGuard no_grad;
    const auto together = ipa(of.s, of.z, of.frames, of.mask);
    double worst = 0;
    for (std::int64_t b = 0; b < B; ++b)
        for (std::int64_t i = 0; i < L; ++i)
            if (of.mask[b][i].item<double>() > 0)
                worst = std::max(worst, distance(together[b][i], attended(ipa, of, b, i)));
    CHECK(worst < 1e-7);  // lengths are smoothed at 1e-8 Å²
    CHECK(together.abs().max().item<double>() > 0.1);
}

TEST_CASE("invariant point attention sees neither how the whole is turned and moved, nor what is masked") {
    Residues of;
    dtk::InvariantPointAttention ipa(stream, sizes);
    disturb(ipa);
    at::NoGradGuard no_grad;
    const auto before = ipa(of.s, of.z, of.frames, of.mask);
    auto moved = of;
    const auto turn = dtk::uniform_rotations(stream.stream("turn"), {1, 3, 3}, at::kCPU)[0];
    moved.frames.rotation = turn.matmul(of.frames.rotation);
    moved.frames.translation = of.frames.translation.matmul(turn.t()) + at::tensor({30.0, -20.0, 7.0}, at::kDouble);
    CHECK(distance(ipa(moved.s, moved.z, moved.frames, moved.mask), before) < 1e-10);
    // Turned in themselves they are other frames.
    moved = of;
    moved.frames.rotation = of.frames.rotation.matmul(turn);
    CHECK(distance(ipa(moved.s, moved.z, moved.frames, moved.mask), before) > 1e-3);

    auto other = of;
    const auto there = of.mask.unsqueeze(-1);
    other.s = at::where(there > 0, of.s, 50.0);
    other.z = at::where((there * of.mask.unsqueeze(1)).unsqueeze(-1) > 0, of.z, -50.0);
    other.frames.translation = at::where(there > 0, of.frames.translation, 1e3);
    CHECK(distance(ipa(other.s, other.z, other.frames, other.mask) * there, before * there) < 1e-12);
}

TEST_CASE("triangles are sums over the third corner, in both directions") {
    const Residues of;
    const auto both = of.mask.unsqueeze(2) * of.mask.unsqueeze(1);
    for (const auto edges :
         {dtk::TriangleMultiplication::Edges::outgoing, dtk::TriangleMultiplication::Edges::incoming}) {
        dtk::TriangleMultiplication triangle(stream, 4, 3, edges);
        disturb(triangle);
        at::NoGradGuard no_grad;
        const auto affine = [&](const std::string& name, const Tensor& x) {
            return at::linear(x, tensor_of(triangle, name + ".weight"), tensor_of(triangle, name + ".bias"));
        };
        const auto normed = [&](const std::string& name, const Tensor& x) {
            return at::layer_norm(x, {x.size(-1)}, tensor_of(triangle, name + ".weight"),
                                  tensor_of(triangle, name + ".bias"));
        };
        const auto z = normed("in", of.z);
        const auto sides = affine("gates", z).sigmoid() * affine("sides", z) * both.unsqueeze(-1);
        const auto a = sides.slice(-1, 0, 3), b = sides.slice(-1, 3);
        const bool outgoing = edges == dtk::TriangleMultiplication::Edges::outgoing;
        auto sum = at::zeros({B, L, L, 3}, at::kDouble);
        for (std::int64_t i = 0; i < L; ++i)
            for (std::int64_t j = 0; j < L; ++j)
                for (std::int64_t k = 0; k < L; ++k) {
                    const auto side = [&](const Tensor& of, std::int64_t end) {
                        return outgoing ? of.select(1, end).select(1, k) : of.select(1, k).select(1, end);
                    };
                    sum.select(1, i).select(1, j) += side(a, i) * side(b, j);
                }
        const auto expected = affine("gate", z).sigmoid() * affine("out", normed("summed", sum));
        CHECK(distance(triangle(of.z, both), expected) < 1e-12);
    }
}

TEST_CASE("frames are turned and moved within themselves, and stay rotations") {
    const Residues of;
    dtk::BackboneUpdate update(stream, 5, 2.0);
    const auto same =
        update(of.s.to(at::kFloat), {of.frames.rotation.to(at::kFloat), of.frames.translation.to(at::kFloat)},
               of.mask.to(at::kFloat));
    CHECK(distance(same.translation, of.frames.translation.to(at::kFloat)) == 0);
    disturb(update);
    at::NoGradGuard no_grad;
    auto frames = of.frames;
    for (int i = 0; i < 100; ++i) frames = update(of.s, frames, of.mask);
    CHECK(distance(frames.rotation.matmul(frames.rotation.transpose(-1, -2)), at::eye(3, at::kDouble)) < 1e-12);
    CHECK(distance(at::linalg_det(frames.rotation), at::ones({B, L}, at::kDouble)) < 1e-12);
    // The quaternion (1, v) turns around v by 2 atan |v|.
    const auto six = at::linear(of.s, tensor_of(update, "out.weight"), tensor_of(update, "out.bias"));
    const auto v = six.slice(-1, 0, 3), length = v.norm(2, -1, true);
    const auto once = update(of.s, of.frames, at::ones_like(of.mask));
    CHECK(distance(once.rotation, of.frames.rotation.matmul(dtk::rotation(v / length * 2 * length.atan()))) < 1e-12);
    CHECK(distance(once.translation,
                   of.frames.translation + 2 * of.frames.rotation.matmul(six.slice(-1, 3).unsqueeze(-1)).squeeze(-1)) <
          1e-12);
    const auto there = of.mask.unsqueeze(-1) > 0;
    CHECK(distance(at::where(there, of.frames.translation, frames.translation), of.frames.translation) == 0);
}

TEST_CASE("relative positions know how far along the chain, up to their reach") {
    dtk::RelativePositions along(stream, 2, 4);
    at::NoGradGuard no_grad;
    const auto z = along(L);
    CHECK(distance(z[0][1], z[3][4]) == 0);
    CHECK(distance(z[0][2], z[0][5]) == 0);
    CHECK(distance(z[0][1], z[1][0]) > 1e-3);
    CHECK(distance(z[0][1], z[0][2]) > 1e-3);
}
