#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <dtk/geometry.hpp>

namespace dtk {
namespace {

constexpr double tiny = 1e-12;  // of a squared length, beside 1 Å²

Tensor vector_product(const Tensor& a, const Tensor& b) { return at::linalg_cross(a, b, -1); }
Tensor scalar_product(const Tensor& a, const Tensor& b) { return (a * b).sum(-1, true); }

/// [..., L] in the numbers of x: [..., L, 3]
Tensor weights_of(const Tensor& mask, const Tensor& x) {
    return mask.defined() ? mask.to(x.options(), /*non_blocking=*/true).expand(x.sizes().slice(0, x.dim() - 1))
                          : at::ones(x.sizes().slice(0, x.dim() - 1), x.options());
}

/// A unit vector at right angles to t, whatever t is.
Tensor across(const Tensor& t) {
    const auto least = t.abs().argmin(-1, true);
    const auto axis = at::zeros_like(t).scatter(-1, least, 1.0);
    return unit(axis - scalar_product(axis, t) * t);
}

/// Unit vectors along x, along `otherwise` where x is as good as 0.
Tensor unit_or(const Tensor& x, const Tensor& otherwise) {
    return at::where(x.square().sum(-1, true) > tiny, unit(x), otherwise);
}

struct Centred {
    Tensor x, centre;  ///< [..., L, 3], [..., 1, 3]
};
Centred less_mean(const Tensor& x, const Tensor& w) {
    const auto all = w.sum(-1, true).unsqueeze(-1).clamp_min(std::numeric_limits<float>::min());
    const auto centre = (w.unsqueeze(-1) * x).sum(-2, true) / all;
    return {x - centre, centre};
}

/// Parts of a chain that are superposed first, first residue and length as shares of it: all, halves, quarters and, of
/// long ones, eighths, each half its length on.
std::vector<std::pair<double, double>> windows(std::int64_t longest) {
    std::vector<std::pair<double, double>> all;
    for (double length = 1; length >= (longest >= 64 ? 0.125 : 0.25); length /= 2)
        for (double first = 0; first + length <= 1; first += length / 2) all.emplace_back(first, length);
    return all;
}

/// What superposition leaves of Σ |y − R x|² = 2 (half − λ), in the mean of n, where M = Σ y xᵀ and half = Σ (|x|² +
/// |y|²)/2. λ is the largest eigenvalue of Horn's matrix of M. These are ±s_1 ± s_2 ± s_3 with an even number of minus
/// signs, s the singular values of M, the third with the sign of det M: the roots of λ⁴ − 2|M|²λ² − 8 det M λ + 2|MᵀM|²
/// − |M|⁴. From above Newton's steps come down to the largest.
Tensor left_over(const Tensor& product, const Tensor& half, const Tensor& n) {
    constexpr int most_steps = 60;
    const auto scale = half.clamp_min(std::numeric_limits<double>::min());
    const auto M = product / scale.unsqueeze(-1).unsqueeze(-1);
    const auto square = M.square().sum({-2, -1});
    const auto linear = -8 * (M.select(-2, 0) * vector_product(M.select(-2, 1), M.select(-2, 2))).sum(-1);
    const auto constant = 2 * M.transpose(-1, -2).matmul(M).square().sum({-2, -1}) - square.square();
    auto root = at::ones_like(half);
    for (int i = 0; i < most_steps; ++i) {
        const auto r2 = root.square();
        const auto value = (r2 - 2 * square) * r2 + linear * root + constant;
        const auto slope = 4 * root * (r2 - square) + linear;
        const auto step = at::where(slope > 0, value / slope, at::zeros_like(value)).clamp_min(0);
        root = root - step;
        if (step.numel() == 0 || step.max().item<double>() < 1e-13) break;
    }
    return (2 * (1 - root).clamp_min(0) * half / n).sqrt();
}

}  // namespace

Tensor unit(const Tensor& x) {
    const auto square = x.square().sum(-1, true);
    const auto there = square > 0;
    return x * at::where(there, at::where(there, square, at::ones_like(square)).rsqrt(), at::zeros_like(square));
}

Frames backbone_frames(const Tensor& n, const Tensor& ca, const Tensor& c) {
    const auto e1 = unit(c - ca), to_n = n - ca;
    const auto e2 = unit_or(to_n - scalar_product(e1, to_n) * e1, across(e1));
    return {at::stack({e1, e2, vector_product(e1, e2)}, -1), ca};
}

Tensor backbone_atoms(const Frames& frames, const Tensor& mask) {
    const auto& [R, ca] = frames;
    const auto e1 = R.select(-1, 0), e2 = R.select(-1, 1);
    const auto n = ca + ideal::n_ca * (std::cos(ideal::n_ca_c) * e1 + std::sin(ideal::n_ca_c) * e2);
    const auto c = ca + ideal::ca_c * e1;
    // Away from the next N, or from where it is at ψ = 180°: there N, CA and C are in one plane with it.
    const auto L = ca.size(-2);
    auto next = at::cat({n.narrow(-2, 1, L - 1), at::zeros_like(n.narrow(-2, 0, 1))}, -2) - c;
    const auto last = mask.defined()
                          ? at::cat({mask.narrow(-1, 1, L - 1), at::zeros_like(mask.narrow(-1, 0, 1))}, -1) == 0
                          : (at::arange(L, ca.options().dtype(at::kLong)) == L - 1);
    next = at::where(last.unsqueeze(-1), -e2, next);
    const auto side = unit_or(next - scalar_product(next, e1) * e1, -e2);
    const auto o = c + ideal::c_o * (-std::cos(ideal::ca_c_o) * e1 - std::sin(ideal::ca_c_o) * side);
    const auto atoms = at::stack({n, ca, c, o}, -2);
    return mask.defined()
               ? at::where(weights_of(mask, ca).unsqueeze(-1).unsqueeze(-1) > 0, atoms, at::zeros_like(atoms))
               : atoms;
}

Frames frenet_frames(const Tensor& x, const Tensor& mask) {
    const auto L = x.size(-2);
    const auto identity = at::eye(3, x.options()).expand([&] {
        auto sizes = x.sizes().vec();
        sizes.push_back(3);
        return sizes;
    }());
    if (L < 3) return {identity.clone(), x};
    const auto straight = at::zeros_like(x.narrow(-2, 0, 1)) + at::eye(3, x.options())[0];
    const auto t = unit_or(x.narrow(-2, 1, L - 1) - x.narrow(-2, 0, L - 1), straight);
    const auto before = t.narrow(-2, 0, L - 2), after = t.narrow(-2, 1, L - 2);
    const auto b = unit_or(vector_product(before, after), across(after));
    const auto own = at::stack({after, vector_product(b, after), b}, -1);  // of residues 1 … L − 2
    if (!mask.defined()) return {at::cat({own.narrow(-3, 0, 1), own, own.narrow(-3, L - 3, 1)}, -3), x};
    const auto there = weights_of(mask, x) > 0;
    const auto n = there.sum(-1, true);
    const auto place = at::minimum(at::arange(L, n.options()).expand(there.sizes()), n - 2).clamp_min(1) - 1;
    const auto R = own.gather(-3, place.unsqueeze(-1).unsqueeze(-1).expand_as(identity));
    return {at::where(there.logical_and(n >= 3).unsqueeze(-1).unsqueeze(-1), R, identity), x};
}

Tensor centred(const Tensor& x, const Tensor& mask) {
    const auto w = weights_of(mask, x);
    return at::where(w.unsqueeze(-1) > 0, less_mean(x, w).x, at::zeros_like(x));
}

Tensor residues_of(const Tensor& x) { return (x.flatten(2) != 0).any(-1).to(at::kFloat); }

Tensor Superposition::operator()(const Tensor& x) const {
    return x.matmul(rotation.transpose(-1, -2)) + translation.unsqueeze(-2);
}

Superposition superposed(const Tensor& x, const Tensor& y, const Tensor& weight) {
    const auto w = weights_of(weight, x);
    const auto [from, centre_x] = less_mean(x, w);
    const auto [to, centre_y] = less_mean(y, w);
    const auto [U, S, Vt] = at::linalg_svd((w.unsqueeze(-1) * to).transpose(-1, -2).matmul(from));
    // Of two reflections or none, whichever makes it proper; the third direction matters least.
    const auto sign = at::where(at::linalg_det(U.matmul(Vt)) < 0, -1.0, 1.0).to(x.scalar_type());
    const auto turned = at::cat({U.narrow(-1, 0, 2), U.narrow(-1, 2, 1) * sign.unsqueeze(-1).unsqueeze(-1)}, -1);
    const auto R = turned.matmul(Vt);
    return {R, (centre_y - centre_x.matmul(R.transpose(-1, -2))).squeeze(-2)};
}

Tensor superposed_rmsd(const Tensor& x, const Tensor& y, const Tensor& mask) {
    const auto a = x.to(at::kDouble), b = y.to(at::kDouble), w = weights_of(mask, a);
    const auto from = less_mean(a, w).x * w.unsqueeze(-1), to = less_mean(b, w).x * w.unsqueeze(-1);
    const auto half = (from.square().sum({-2, -1}) + to.square().sum({-2, -1})) / 2;
    return left_over(to.transpose(-1, -2).matmul(from), half, w.sum(-1).clamp_min(1)).to(x.scalar_type());
}

Tensor superposed_rmsds(const Tensor& x, const Tensor& y) {
    constexpr std::int64_t pairs_at_once = 1 << 14;  // which stay in the cache
    const auto n = x.size(0), m = y.size(0), L = x.size(1);
    const auto from = centred(x.to(at::kDouble)), to = centred(y.to(at::kDouble));
    const auto of_from = from.square().sum({1, 2}).unsqueeze(1), of_to = to.square().sum({1, 2}).unsqueeze(0);
    const auto right = to.permute({1, 0, 2}).reshape({L, 3 * m}), residues = at::full({}, L, right.options());
    std::vector<Tensor> rows;
    const auto portion = std::max<std::int64_t>(1, pairs_at_once / std::max<std::int64_t>(1, m));
    for (std::int64_t first = 0; first < n; first += portion) {
        const auto k = std::min(portion, n - first);
        // All products at once: [k·3, L] by [L, m·3].
        const auto M = from.narrow(0, first, k).transpose(1, 2).reshape({3 * k, L}).matmul(right);
        rows.push_back(left_over(M.view({k, 3, m, 3}).permute({0, 2, 3, 1}).contiguous(),
                                 (of_from.narrow(0, first, k) + of_to) / 2, residues));
    }
    return n == 0 ? at::zeros({0, m}, x.options()) : at::cat(rows).to(x.scalar_type());
}

namespace {

/// a, b: [B, L, 3] float64, there: [B, L] of 0 and 1 → [B]
Tensor best_scores(const Tensor& x, const Tensor& y, const Tensor& residues) {
    constexpr int first_steps = 3, further_steps = 20;
    constexpr std::int64_t kept = 3;
    const auto L = x.size(1);
    const auto a = x.unsqueeze(1), b = y.unsqueeze(1), there = residues.unsqueeze(1);
    const auto n = there.sum(-1, true).clamp_min(1);  // [B, 1, 1]
    const auto reach = 1.24 * (n - 15).clamp_min(0).pow(1. / 3) - 1.8;
    const auto d2_0 = reach.clamp_min(0.5).square();

    // One round: from weights to the motion, and from there to score and further weights.
    Tensor score;
    const auto climb = [&](const Tensor& w) {
        const auto d2 = (superposed(a.expand({-1, w.size(1), -1, -1}), b.expand({-1, w.size(1), -1, -1}), w)(a) - b)
                            .square()
                            .sum(-1);
        const auto share = there / (1 + d2 / d2_0);
        score = (share / n).sum(-1);
        return share.square();
    };
    const auto place = at::arange(L, a.options());
    std::vector<Tensor> starts;
    for (const auto& [first, length] : windows(L)) {
        const auto begin = (first * n).floor(), size = (length * n).floor().clamp_min(4);
        starts.push_back(there * (place >= begin).logical_and(place < begin + size));
    }
    auto w = at::cat(starts, 1);
    for (int i = 0; i < first_steps; ++i) w = climb(w);
    const auto best = std::get<1>(score.topk(std::min(kept, score.size(1)), 1));
    w = w.gather(1, best.unsqueeze(-1).expand({-1, -1, L}));
    for (int i = 0; i < further_steps; ++i) w = climb(w);
    return score.amax(1);
}

}  // namespace

Tensor tm_score(const Tensor& x, const Tensor& y, const Tensor& mask) {
    constexpr std::int64_t pairs_at_once = 128;  // so that memory stays bounded
    const at::NoGradGuard no_grad;
    const auto L = x.size(-2);
    const auto a = x.to(at::kDouble).reshape({-1, L, 3}), b = y.to(at::kDouble).reshape({-1, L, 3});
    const auto there = weights_of(mask, x).to(at::kDouble).reshape({-1, L});
    auto scores = at::empty({a.size(0)}, a.options());
    for (std::int64_t first = 0; first < a.size(0); first += pairs_at_once) {
        const auto end = std::min(first + pairs_at_once, a.size(0));
        scores.slice(0, first, end)
            .copy_(best_scores(a.slice(0, first, end), b.slice(0, first, end), there.slice(0, first, end)));
    }
    return scores.view(x.sizes().slice(0, x.dim() - 2)).to(x.scalar_type());
}

Tensor dihedral(const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& d) {
    const auto first = b - a, axis = c - b, last = d - c;
    const auto left = vector_product(first, axis), right = vector_product(axis, last);
    return at::atan2(scalar_product(unit(axis), vector_product(left, right)), scalar_product(left, right)).squeeze(-1);
}

Tensor bond_angle(const Tensor& a, const Tensor& b, const Tensor& c) {
    const auto u = a - b, v = c - b;
    const auto sine = vector_product(u, v).square().sum(-1), cosine = (u * v).sum(-1);
    const auto there = sine > 0;  // the root's slope is not finite at 0
    return at::atan2(at::where(there, at::where(there, sine, at::ones_like(sine)).sqrt(), at::zeros_like(sine)),
                     cosine);
}

}  // namespace dtk
