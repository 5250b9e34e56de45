// Geometry of chains in float64, against closed forms and against what motions and reflections must do.
#include <cmath>
#include <numbers>

#include <dtk/geometry.hpp>
#include <dtk/rotations.hpp>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::ideal::degree;

namespace {

constexpr double pi = std::numbers::pi;
const dtk::Random stream(11, "geometry");

double apart(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }
Tensor normal(const char* name, at::IntArrayRef sizes) { return stream.stream(name).normal(sizes, at::kDouble); }
Tensor numbers(std::vector<double> all) { return at::tensor(all, at::kDouble); }

/// A turn and a shift for each of B chains.
struct Motion {
    Tensor R, shift;
    explicit Motion(const char* name, std::int64_t B)
        : R(dtk::uniform_rotations(stream.stream(name), {B, 3, 3}, at::kCPU)), shift(10 * normal(name, {B, 1, 3})) {}
    Tensor operator()(const Tensor& x) const { return x.matmul(R.transpose(1, 2)) + shift; }
};

/// A random walk with steps of about 3.8 Å. [B, L, 3]
Tensor walk(const char* name, std::int64_t B, std::int64_t L) {
    const auto step = normal(name, {B, L, 3});
    return (3.8 * step / step.norm(2, -1, true)).cumsum(1);
}

/// Rise, radius and turn of each residue: (r cos kθ, r sin kθ, k h). [1, L, 3]
Tensor helix(std::int64_t L, double radius, double turn, double rise) {
    const auto k = at::arange(L, at::kDouble);
    return at::stack({radius * (turn * k).cos(), radius * (turn * k).sin(), rise * k}, 1).unsqueeze(0);
}

double off_proper(const Tensor& R) {
    return std::max(apart(R.matmul(R.transpose(-1, -2)), at::eye(3, R.options()).expand_as(R)),
                    apart(at::linalg_det(R), at::ones(R.sizes().slice(0, R.dim() - 2), R.options())));
}

/// Of the sum of f over x: by the graph.
template <class F>
Tensor gradient(const F& f, const Tensor& at) {
    at::AutoGradMode on(true);
    auto x = at.clone().requires_grad_(true);
    return torch::autograd::grad({f(x).sum()}, {x})[0];
}

Tensor prefix(const std::vector<std::int64_t>& lengths, std::int64_t L) {
    return (at::arange(L) < at::tensor(lengths).unsqueeze(1)).to(at::kFloat);
}

}  // namespace

TEST_CASE("torsions and angles of points whose angles are known") {
    const auto o = numbers({0, 0, 0}), x = numbers({1, 0, 0}), z = numbers({0, 0, 1});
    for (const double angle : {-3.0, -1.0, -1e-6, 0.0, 0.3, 1.5, 3.1}) {
        // a above b on x, c up the z axis, d turned about it: seen along b → c, that is upwards, clockwise is negative
        // about z.
        const auto d = z + numbers({std::cos(angle), std::sin(angle), 0});
        CHECK(dtk::dihedral(x, o, z, d).item<double>() == Approx(angle).margin(1e-14));
        CHECK(dtk::dihedral(d, z, o, x).item<double>() == Approx(angle).margin(1e-14));
        CHECK(dtk::dihedral(-x, -o, -z, -d).item<double>() == Approx(-angle).margin(1e-14));
        const double bend = std::abs(angle);
        CHECK(dtk::bond_angle(x, o, numbers({3 * std::cos(bend), 0, 3 * std::sin(bend)})).item<double>() ==
              Approx(bend).margin(1e-14));
    }
    const auto line = dtk::bond_angle(x, o, 2 * x);
    CHECK(line.item<double>() == 0);
    CHECK(gradient([&](const Tensor& a) { return dtk::bond_angle(a, o, x); }, 2 * x).isfinite().all().item<bool>());
}

TEST_CASE("frames of a backbone are proper, move with it, and give its atoms back") {
    constexpr std::int64_t B = 3, L = 9;
    const dtk::Frames frames{dtk::uniform_rotations(stream.stream("frames"), {B, L, 3, 3}, at::kCPU), walk("ca", B, L)};
    const auto atoms = dtk::backbone_atoms(frames);
    CHECK(atoms.sizes() == at::IntArrayRef{B, L, 4, 3});
    const auto atom = [&](const Tensor& all, int i) { return all.select(2, i); };
    const auto back = dtk::backbone_frames(atom(atoms, 0), atom(atoms, 1), atom(atoms, 2));
    CHECK(apart(back.rotation, frames.rotation) < 1e-13);
    CHECK(apart(back.translation, frames.translation) == 0);
    const auto length = [&](int i, int j) { return (atom(atoms, i) - atom(atoms, j)).norm(2, -1); };
    const auto constant = [&](double value) { return at::full({B, L}, value, at::kDouble); };
    CHECK(apart(length(0, 1), constant(1.458)) < 1e-13);
    CHECK(apart(length(1, 2), constant(1.525)) < 1e-13);
    CHECK(apart(length(2, 3), constant(1.231)) < 1e-13);
    CHECK(apart(dtk::bond_angle(atom(atoms, 0), atom(atoms, 1), atom(atoms, 2)), constant(111.2 * degree)) < 1e-13);
    CHECK(apart(dtk::bond_angle(atom(atoms, 1), atom(atoms, 2), atom(atoms, 3)), constant(120.8 * degree)) < 1e-13);
    // O is across from the next N: the two torsions about CA–C differ by half a turn, and the last one's is 0.
    const auto next = atom(atoms, 0).slice(1, 1), n = atom(atoms, 0), ca = atom(atoms, 1), c = atom(atoms, 2);
    const auto psi = dtk::dihedral(n.slice(1, 0, -1), ca.slice(1, 0, -1), c.slice(1, 0, -1), next);
    const auto of_o = dtk::dihedral(n, ca, c, atom(atoms, 3));
    CHECK(apart((psi - of_o.slice(1, 0, -1)).cos(), -at::ones_like(psi)) < 1e-12);
    CHECK(apart(of_o.select(1, L - 1), at::zeros({B}, at::kDouble)) < 1e-12);

    const Motion motion("motion", B);
    const auto moved = dtk::backbone_frames(motion(n), motion(ca), motion(c));
    CHECK(apart(moved.rotation, motion.R.unsqueeze(1).matmul(frames.rotation)) < 1e-12);
    CHECK(off_proper(moved.rotation) < 1e-13);

    // A shorter chain under a mask is that chain, and nothing else.
    const auto mask = prefix({9, 5, 1}, L);
    const auto masked = dtk::backbone_atoms(frames, mask);
    const auto alone = dtk::backbone_atoms({frames.rotation[1].slice(0, 0, 5), frames.translation[1].slice(0, 0, 5)});
    CHECK(apart(masked[1].slice(0, 0, 5), alone) == 0);
    CHECK(masked[1].slice(0, 5).abs().max().item<double>() == 0);
}

TEST_CASE("a backbone of ideal peptides is bonded as one: neighbouring frames a trans peptide bond apart") {
    // From residue to residue by the ideal angles and ω = π the bond C–N and the distance of Cα are known.
    const double phi = -57 * degree, psi = -47 * degree;
    std::vector<Tensor> placed{
        numbers({0, 0, 0}), numbers({1.458, 0, 0}),
        numbers({1.458 - 1.525 * std::cos(111.2 * degree), 1.525 * std::sin(111.2 * degree), 0})};
    const auto put = [&](double length, double angle, double torsion) {
        const auto &a = placed[placed.size() - 3], &b = placed[placed.size() - 2], &c = placed.back();
        const auto axis = dtk::unit(c - b), normal = dtk::unit(at::linalg_cross(b - a, axis)),
                   side = at::linalg_cross(normal, axis);
        placed.push_back(c + length * (-std::cos(angle) * axis + std::sin(angle) * std::cos(torsion) * side +
                                       std::sin(angle) * std::sin(torsion) * normal));
    };
    for (int i = 0; i < 15; ++i) {
        put(1.329, 116.2 * degree, psi);
        put(1.458, 121.7 * degree, pi);
        put(1.525, 111.2 * degree, phi);
    }
    const auto all = at::stack(placed).view({16, 3, 3});
    CHECK(dtk::dihedral(all[3][2], all[4][0], all[4][1], all[4][2]).item<double>() == Approx(phi));
    CHECK(dtk::dihedral(all[3][0], all[3][1], all[3][2], all[4][0]).item<double>() == Approx(psi));
    const auto frames = dtk::backbone_frames(all.select(1, 0), all.select(1, 1), all.select(1, 2));
    const auto atoms = dtk::backbone_atoms(frames);
    CHECK(apart(atoms.slice(1, 0, 3), all) < 1e-12);
    // Law of cosines along Cα–C–N–Cα with ω = π.
    const auto step = (all.select(1, 1).slice(0, 1) - all.select(1, 1).slice(0, 0, -1)).norm(2, -1);
    const double x = 1.525 * std::cos(pi - 116.2 * degree) + 1.329 + 1.458 * std::cos(pi - 121.7 * degree),
                 y = 1.525 * std::sin(pi - 116.2 * degree) + 1.458 * std::sin(pi - 121.7 * degree);
    CHECK(apart(step, at::full_like(step, std::hypot(x, y))) < 1e-12);
    CHECK(std::abs(std::hypot(x, y) - dtk::ideal::ca_ca) < 0.02);
    // An α helix: right-handed, and O of residue i 2.8 … 3.2 Å from N of i + 4.
    const auto d = (atoms.select(1, 3).slice(0, 0, -4) - atoms.select(1, 0).slice(0, 4)).norm(2, -1);
    CHECK(d.slice(0, 0, -1).min().item<double>() > 2.6);
    CHECK(d.slice(0, 0, -1).max().item<double>() < 3.3);
}

TEST_CASE("Frenet frames are proper and move with the trace; a helix has the closed form's") {
    constexpr std::int64_t B = 4, L = 12;
    const auto x = walk("trace", B, L);
    const auto frames = dtk::frenet_frames(x);
    CHECK(off_proper(frames.rotation) < 1e-13);
    CHECK(at::equal(frames.rotation.select(1, 0), frames.rotation.select(1, 1)));
    CHECK(at::equal(frames.rotation.select(1, L - 1), frames.rotation.select(1, L - 2)));
    const Motion motion("motion", B);
    CHECK(apart(dtk::frenet_frames(motion(x)).rotation, motion.R.unsqueeze(1).matmul(frames.rotation)) < 1e-12);
    // A reflection turns t with it and keeps the frames proper, which then are others.
    const auto mirror = at::diag(numbers({1, 1, -1}));
    const auto reflected = dtk::frenet_frames(x.matmul(mirror)).rotation;
    CHECK(off_proper(reflected) < 1e-13);
    CHECK(apart(reflected.select(-1, 0), frames.rotation.select(-1, 0).matmul(mirror)) < 1e-13);
    CHECK(apart(reflected.select(-1, 2), -frames.rotation.select(-1, 2).matmul(mirror)) < 1e-13);

    // t_k of (r cos kθ, r sin kθ, kh) is (−2r sin(θ/2) sin φ, 2r sin(θ/2) cos φ, h)/|.|, φ = (k + ½)θ, and t_{k−1} ×
    // t_k of two such at φ and φ + θ is (hs·2sin(θ/2)·… ) below, s = 2r sin(θ/2).
    const double r = 2.3, theta = 100 * degree, h = 1.5, s = 2 * r * std::sin(theta / 2);
    const auto of = dtk::frenet_frames(helix(L, r, theta, h)).rotation[0];
    for (std::int64_t k = 1; k + 1 < L; ++k) {
        const double f = (static_cast<double>(k) + 0.5) * theta, g = f - theta;
        const auto t = numbers({-s * std::sin(f), s * std::cos(f), h});
        const auto b = numbers(
            {s * h * (std::cos(g) - std::cos(f)), s * h * (std::sin(g) - std::sin(f)), s * s * std::sin(theta)});
        CHECK(apart(of[k].select(1, 0), t / t.norm()) < 1e-13);
        CHECK(apart(of[k].select(1, 2), b / b.norm()) < 1e-13);
    }

    // Shorter chains under a mask are as they are alone; what is not there is the identity.
    const auto mask = prefix({12, 7, 3, 2}, L);
    const auto masked = dtk::frenet_frames(x, mask).rotation;
    for (const auto& [row, length] : {std::pair{0, 12}, {1, 7}, {2, 3}}) {
        CHECK(apart(masked[row].slice(0, 0, length), dtk::frenet_frames(x[row].slice(0, 0, length)).rotation) == 0);
        if (length < L) CHECK(apart(masked[row].slice(0, length), at::eye(3, at::kDouble)) == 0);
    }
    CHECK(apart(masked[3], at::eye(3, at::kDouble)) == 0);
    // Points on a line, and on one spot, have frames, too, and finite slopes.
    const auto line = at::arange(6, at::kDouble).unsqueeze(1) * numbers({1, 2, 2});
    for (const auto& points : {line, at::zeros_like(line), line.narrow(0, 0, 2)}) {
        const auto R = dtk::frenet_frames(points).rotation;
        CHECK(off_proper(R) < 1e-13);
        CHECK(gradient([](const Tensor& p) { return dtk::frenet_frames(p).rotation.square() + p.sum(); }, points)
                  .isfinite()
                  .all()
                  .item<bool>());
    }
    CHECK(off_proper(dtk::frenet_frames(x.to(at::kFloat)).rotation) < 1e-6);
}

TEST_CASE("superposition finds the motion, never a reflection, and what is left is the least") {
    constexpr std::int64_t B = 5, L = 20;
    const auto x = walk("x", B, L);
    const Motion motion("motion", B);
    const auto found = dtk::superposed(x, motion(x));
    CHECK(apart(found.rotation, motion.R) < 1e-12);
    CHECK(apart(found(x), motion(x)) < 1e-11);
    CHECK(dtk::superposed_rmsd(x, motion(x)).max().item<double>() < 1e-6);

    // Two other walks: the best motion leaves no gradient, and is better than many others.
    const auto y = walk("y", B, L), mirrored = x * numbers({1, 1, -1});
    for (const auto& other : {y, mirrored}) {
        const auto best = dtk::superposed(x, other);
        CHECK(off_proper(best.rotation) < 1e-12);
        const auto rmsd = [&](const Tensor& moved) { return (moved - other).square().sum(-1).mean(-1).sqrt(); };
        const auto least = rmsd(best(x));
        CHECK(apart(least, dtk::superposed_rmsd(x, other)) < 1e-9);
        for (int i = 0; i < 20; ++i) {
            const auto turn = dtk::rotation(0.1 * normal(("turn" + std::to_string(i)).c_str(), {B, 3}));
            const dtk::Superposition beside{turn.matmul(best.rotation),
                                            turn.matmul(best.translation.unsqueeze(-1)).squeeze(-1)};
            CHECK((rmsd(beside(x)) > least).all().item<bool>());
        }
    }
    // Plane triangles: closed form. A triangle and its mirror image superpose by turning it over.
    const auto triangle = at::tensor({0., 0., 0., 3., 0., 0., 0., 4., 0.}, at::kDouble).view({3, 3});
    CHECK(dtk::superposed_rmsd(triangle, triangle * numbers({-1, 1, 1})).item<double>() < 1e-6);
    // Two points each: they fit but for their distances, (d_1 − d_2)/2 each.
    const auto two = at::tensor({0., 0., 0., 0., 0., 4.}, at::kDouble).view({2, 3}),
               far = at::tensor({1., 1., 1., 8., 1., 1.}, at::kDouble).view({2, 3});
    CHECK(dtk::superposed_rmsd(two, far).item<double>() == Approx(1.5).epsilon(1e-7));
    CHECK(apart(dtk::superposed(two, far)(two)[0], numbers({2.5, 1, 1})) < 1e-12);

    // Masked residues do not count, however far; weights of a half are half the residues.
    const auto mask = prefix({20, 11, 4, 20, 7}, L);
    auto spoilt = motion(x);
    spoilt = at::where(mask.unsqueeze(-1) > 0, spoilt, spoilt + 100 * normal("far", spoilt.sizes()));
    CHECK(apart(dtk::superposed(x, spoilt, mask).rotation, motion.R) < 1e-11);
    CHECK(dtk::superposed_rmsd(x, spoilt, mask).max().item<double>() < 1e-5);
    for (std::int64_t i = 0; i < B; ++i) {
        const auto n = mask[i].sum().item<std::int64_t>();
        CHECK(dtk::superposed_rmsd(x, y, mask)[i].item<double>() ==
              Approx(dtk::superposed_rmsd(x[i].slice(0, 0, n), y[i].slice(0, 0, n)).item<double>()).epsilon(1e-9));
    }
    const auto all = dtk::superposed_rmsds(x, y.slice(0, 0, 3));
    CHECK(all.sizes() == at::IntArrayRef{B, 3});
    for (std::int64_t i = 0; i < B; ++i)
        for (std::int64_t k = 0; k < 3; ++k)
            CHECK(all[i][k].item<double>() == Approx(dtk::superposed_rmsd(x[i], y[k]).item<double>()).epsilon(1e-9));
    const auto w = stream.stream("w").uniform({B, L}, at::kDouble);
    CHECK(apart(dtk::superposed(x, y, w).rotation, dtk::superposed(x, y, 3 * w).rotation) < 1e-11);
}

TEST_CASE("the TM-score of a chain with itself is 1, of one with a part that moved the part that did not") {
    constexpr std::int64_t L = 80;
    const auto x = walk("x", 3, L);
    const Motion motion("motion", 3);
    CHECK(apart(dtk::tm_score(x, motion(x)), at::ones({3}, at::kDouble)) < 1e-10);
    // The last quarter goes far away: three quarters count 1 and the others as good as nothing.
    auto y = motion(x);
    y.slice(1, 60) += 1000;
    const auto part = dtk::tm_score(x, y);
    CHECK(apart(part, at::full({3}, 0.75, at::kDouble)) < 1e-3);
    // One residue displaced: the closed form of d_0 at the motion that leaves the others in place.
    const double d0 = 1.24 * std::cbrt(L - 15.) - 1.8;
    auto one = x.clone();
    one.select(1, 40) += numbers({0, 0, 30});
    const double leaves = (L - 1 + 1 / (1 + 900 / (d0 * d0))) / L;
    CHECK((dtk::tm_score(x, one) >= leaves - 1e-12).all().item<bool>());
    CHECK(apart(dtk::tm_score(x, one), at::full({3}, leaves, at::kDouble)) < 1e-4);
    // Padding changes nothing, and neither do motions; unlike walks have little in common, mirror images less than 1.
    const auto mask = prefix({80, 50, 33}, L);
    const auto z = walk("z", 3, L);
    const auto masked = dtk::tm_score(x, z, mask);
    for (const auto& [row, n] : {std::pair{0, 80}, {1, 50}})
        CHECK(masked[row].item<double>() ==
              Approx(dtk::tm_score(x[row].slice(0, 0, n), z[row].slice(0, 0, n)).item<double>()).epsilon(0.02));
    CHECK(apart(dtk::tm_score(motion(x), z, mask), masked) < 1e-6);
    CHECK(masked.max().item<double>() < 0.5);
    CHECK((dtk::tm_score(x, x * numbers({1, 1, -1})) < 0.7).all().item<bool>());
}

TEST_CASE("centring is over the residues that exist, and padding stays 0") {
    const auto mask = prefix({6, 4, 0}, 6);
    const auto x = normal("x", {3, 6, 3}) + 5;
    const auto y = dtk::centred(x, mask);
    CHECK(apart((y * mask.unsqueeze(-1)).sum(1), at::zeros({3, 3}, at::kDouble)) < 1e-12);
    CHECK(apart(y[1].slice(0, 0, 4), x[1].slice(0, 0, 4) - x[1].slice(0, 0, 4).mean(0)) < 1e-14);
    CHECK((y.masked_select((mask == 0).unsqueeze(-1)) == 0).all().item<bool>());
    CHECK(at::equal(dtk::residues_of(y), mask));
    CHECK(at::equal(dtk::residues_of(y.unsqueeze(2).expand({3, 6, 4, 3})), mask));
}

TEST_CASE("Exp and Log of rotations have finite slopes at 0 and near π, and undo each other's") {
    const auto axis = dtk::unit(normal("axis", {6, 3}));
    for (const double angle : {0.0, 1e-12, 1e-6, 0.5, 3.0, pi - 1e-6}) {
        INFO("angle " << angle);
        const auto v = angle * axis;
        // Each component of Log(Exp(v)) has the slope of the identity.
        for (int i = 0; i < 3; ++i) {
            const auto slope =
                gradient([&](const Tensor& u) { return dtk::rotation_vector(dtk::rotation(u)).select(-1, i); }, v);
            CHECK(slope.isfinite().all().item<bool>());
            auto wanted = at::zeros_like(v);
            wanted.select(-1, i).fill_(1);
            CHECK(apart(slope, wanted) < (angle > 3.1 ? 1e-7 : 1e-8));
        }
    }
    const auto at_pi = dtk::rotation(pi * axis);
    CHECK(gradient([](const Tensor& R) { return dtk::rotation_vector(R); }, at_pi).isfinite().all().item<bool>());
}
