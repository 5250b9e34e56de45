// Metrics of protein chains against direct evaluation and closed forms, under motions and reflections, and on real
// chains.
#include <cmath>
#include <cstdlib>
#include <numbers>

#include <dtk/chain_metric.hpp>
#include <dtk/chains.hpp>
#include <dtk/rotations.hpp>
#include <dtk/secondary_structure.hpp>

#include "catch.hpp"
#include "made_data.hpp"
#include "support.hpp"

using at::Tensor;
using Catch::Matchers::Contains;
using dtk::ideal::degree;
using support::make;

namespace {

constexpr double pi = std::numbers::pi;
const dtk::Random stream(21, "chain_metrics");

Tensor numbers(std::vector<double> all) { return at::tensor(all, at::kDouble); }

/// Chains by the torsion and the angle at every residue, neighbours 3.802 Å apart. [1, L, 3]
Tensor wound(std::int64_t L, double angle, double torsion) {
    std::vector<Tensor> x{numbers({0, 0, 0}), numbers({3.802, 0, 0})};
    x.push_back(x[1] + 3.802 * numbers({-std::cos(angle * degree), std::sin(angle * degree), 0}));
    while (static_cast<std::int64_t>(x.size()) < L) {
        const auto &a = x[x.size() - 3], &b = x[x.size() - 2], &c = x.back();
        const auto along = dtk::unit(c - b), across = dtk::unit(at::linalg_cross(b - a, along)),
                   side = at::linalg_cross(across, along);
        const double t = torsion * degree, u = angle * degree;
        x.push_back(c + 3.802 * (-std::cos(u) * along + std::sin(u) * (std::cos(t) * side + std::sin(t) * across)));
    }
    return at::stack(x).unsqueeze(0);
}

MadeContext over(std::shared_ptr<dtk::Dataset> data) { return MadeContext(std::move(data)); }
MadeContext ideal(const std::string& fields = {}) {
    return over(make<dtk::Dataset>("ideal_chains", fields, support::BuildContext{}));
}
MadeContext real(const std::string& fields) {
    return over(
        make<dtk::Dataset>("chains", fmt::format("file = \"{}\"\n{}", DTK_TEST_DATA "/chains.safetensors", fields)));
}

Tensor held_out(const MadeContext& context, std::int64_t n) {
    return context.dataset().test_examples(at::arange(1000, 1000 + n)).x;
}

/// n copies of a chain's shape, each somewhere else.
Tensor scattered(const Tensor& chain, std::int64_t n) {
    const auto R = dtk::uniform_rotations(stream.stream("scattered"), {n, 3, 3}, at::kCPU);
    return chain.expand({n, -1, -1}).matmul(R.transpose(1, 2));
}

const std::vector<std::string> of_traces{"bond_validity",       "clashes",    "radius_of_gyration",
                                         "secondary_structure", "handedness", "chain_angles",
                                         "tm_diversity",        "tm_novelty", "local_nativeness"};
/// Fewer samples where a metric takes long.
std::string quick(const std::string& name) {
    if (name == "tm_diversity") return "most = 10\nrepeats = 2";
    if (name == "tm_novelty") return "most = 60\nsamples = 10\nrepeats = 2";
    if (name == "local_nativeness") return "library = 200\nmost = 100\nrepeats = 2";
    return "";
}

}  // namespace

TEST_CASE("distances of distributions are those of their definition") {
    CHECK(dtk::wasserstein_1(numbers({0, 1}), numbers({3, 2})) == Approx(2));
    CHECK(dtk::wasserstein_1(numbers({0, 0, 3}), numbers({1})) == Approx(4. / 3));
    CHECK(dtk::wasserstein_1(numbers({1, 2}), numbers({2, 1})) == 0);
    const auto x = stream.stream("x").normal({50}, at::kDouble), y = 2 * stream.stream("y").normal({50}, at::kDouble);
    const auto direct = (std::get<0>(x.sort()) - std::get<0>(y.sort())).abs().mean().item<double>();
    CHECK(dtk::wasserstein_1(x, y) == Approx(direct).epsilon(1e-12));
    // On the circle the way over the seam is the shorter one, and a turn of both changes nothing.
    CHECK(dtk::wasserstein_of_angles(numbers({pi - 0.1}), numbers({-pi + 0.2})) == Approx(0.3));
    CHECK(dtk::wasserstein_of_angles(numbers({0}), numbers({1})) == Approx(1));
    const auto u = 2 * pi * stream.stream("u").uniform({40}, at::kDouble) - pi, v = (0.3 * x.slice(0, 0, 40));
    const auto turned = [](const Tensor& angle, double by) { return at::remainder(angle + by + pi, 2 * pi) - pi; };
    const double whole = dtk::wasserstein_of_angles(u, v);
    for (const double by : {0.5, 2.0, 3.1})
        CHECK(dtk::wasserstein_of_angles(turned(u, by), turned(v, by)) == Approx(whole));
    CHECK(dtk::wasserstein_of_angles(v, turned(v, 0.25)) == Approx(0.25).epsilon(1e-9));
    // Of equally many points it is the best cyclic assignment.
    double best = 1e9;
    const auto a = std::get<0>(u.sort()), b = std::get<0>(v.sort());
    for (std::int64_t k = 0; k < 40; ++k) {
        const auto off = (turned(a - b.roll(k), 0)).abs().mean().item<double>();
        best = std::min(best, off);
    }
    CHECK(whole == Approx(best).epsilon(1e-9));
}

TEST_CASE("helices and strands are found in made ones, whatever side of ±180° a strand's torsion is on") {
    const auto structure = [](const Tensor& x, const Tensor& mask = {}) {
        return dtk::secondary_structure(x, mask)[0];
    };
    const auto count = [&](const Tensor& x, dtk::Secondary what) {
        return (structure(x) == static_cast<std::int64_t>(what)).sum().item<std::int64_t>();
    };
    const auto helix = wound(20, 91, 50);
    CHECK(count(helix, dtk::Secondary::helix) >= 16);
    CHECK(count(helix, dtk::Secondary::strand) == 0);
    CHECK(count(helix * numbers({1, 1, -1}), dtk::Secondary::helix) >= 14);  // distances do not see the hand
    for (const double torsion : {-170.0, -179.0, 178.0, 160.0, -130.0}) {
        INFO(torsion);
        CHECK(count(wound(20, 124, torsion), dtk::Secondary::strand) >= 16);
        CHECK(count(wound(20, 124, torsion), dtk::Secondary::helix) == 0);
    }
    CHECK(count(wound(20, 110, 100), dtk::Secondary::loop) == 20);
    // Four residues that fit are no helix; padding is loop and changes nothing.
    const auto padded = at::constant_pad_nd(helix, {0, 0, 0, 9});
    const auto mask = (at::arange(29) < 20).to(at::kFloat).unsqueeze(0);
    CHECK(at::equal(structure(padded, mask).slice(0, 0, 20), structure(helix)));
    CHECK(structure(padded, mask).slice(0, 20).sum().item<std::int64_t>() == 0);
    for (const std::int64_t L : {1, 2, 3, 4, 5})
        CHECK(structure(wound(std::max<std::int64_t>(L, 3), 91, 50).slice(1, 0, L)).sum().item<std::int64_t>() == 0);
}

/// Of the chains of a file: how often P-SEA and DSSP say the same of a residue, and how their shares of helix and of
/// strand go together from chain to chain.
struct Agreement {
    double same, helix, strand, helix_share, strand_share;
    explicit Agreement(const dtk::Chains& chains) {
        std::vector<Tensor> all, own, known;
        for (std::int64_t i = 0; i < chains.size(); ++i) {
            const auto first = chains.begin[i].item<std::int64_t>(), end = chains.begin[i + 1].item<std::int64_t>();
            const auto found = dtk::secondary_structure(
                chains.atoms.slice(0, first, end).select(1, 1).unsqueeze(0).to(at::kDouble))[0];
            const auto dssp = chains.dssp.slice(0, first, end);
            const auto is = [&](std::initializer_list<char> letters) {
                auto any = at::zeros(dssp.sizes(), at::kBool);
                for (const char letter : letters) any = any.logical_or(dssp == static_cast<int>(letter));
                return any.to(at::kLong);
            };
            const auto truth = is({'H', 'G', 'I'}) + 2 * is({'E', 'B'});
            const auto shares = [](const Tensor& of) {
                return at::stack({(of == 1).to(at::kDouble).mean(), (of == 2).to(at::kDouble).mean()});
            };
            all.push_back(found == truth), own.push_back(shares(found)), known.push_back(shares(truth));
        }
        const auto a = at::stack(own), b = at::stack(known);
        const auto together = [&](int k) {
            return at::corrcoef(at::stack({a.select(1, k), b.select(1, k)}))[0][1].item<double>();
        };
        same = at::cat(all).to(at::kDouble).mean().item<double>();
        helix = together(0), strand = together(1);
        helix_share = a.select(1, 0).mean().item<double>(), strand_share = a.select(1, 1).mean().item<double>();
    }
};

TEST_CASE("P-SEA agrees with DSSP as far as it is known to") {
    const Agreement on(dtk::load_chains(DTK_TEST_DATA "/chains.safetensors"));
    CHECK(on.same > 0.72);
    CHECK(on.helix > 0.95);
    CHECK(on.strand > 0.83);
}

TEST_CASE("bonds and clashes are counted as a loop over pairs counts them") {
    const auto context = ideal("length = 12");
    // 11 bonds: 8 of 3.802 Å, one too short, one too long, one just within.
    auto x = at::zeros({1, 12, 3}, at::kDouble);
    double place = 0;
    for (std::int64_t i = 1; i < 12; ++i) {
        place += i == 3 ? 3.6 : i == 5 ? 3.95 : i == 8 ? 3.895 : 3.802;
        x[0][i][0] = place;
    }
    const auto bonds = measured("bond_validity", context, x + 1);
    CHECK(bonds.value == Approx(9. / 11));
    CHECK(part(bonds, "mean") == Approx(place / 11));
    CHECK(part(bonds, "true mean") == Approx(3.802).margin(0.01));
    CHECK(*bonds.expected > 0.99);
    CHECK(measured("bond_validity", context, 0.9 * wound(12, 91, 50) + 1).value == 0);  // one-sided tests pass it

    const auto walk = (2 * stream.stream("walk").normal({7, 12, 3}, at::kDouble)).cumsum(1);
    std::int64_t near = 0, very = 0;
    for (std::int64_t n = 0; n < 7; ++n)
        for (std::int64_t i = 0; i < 12; ++i)
            for (std::int64_t j = i + 3; j < 12; ++j) {
                const double d = (walk[n][i] - walk[n][j]).norm().item<double>();
                near += d < 4, very += d < 3;
            }
    const auto clashes = measured("clashes", context, walk);
    CHECK(clashes.value == Approx(static_cast<double>(near) / 7));
    CHECK(part(clashes, "nearer than 3 Å") == Approx(static_cast<double>(very) / 7));
    CHECK(near > 10);
    // Padding does not count: the same chains, shorter.
    auto padded = walk.clone();
    padded.slice(1, 8).zero_();
    auto shorter = ideal("length = 8");
    for (const auto* name : {"clashes", "bond_validity"})
        CHECK(measured(name, context, padded).value == Approx(measured(name, shorter, walk.slice(1, 0, 8)).value));
}

TEST_CASE("sizes and angles that are known apart are found as far apart") {
    const auto context = ideal("length = 24");
    const auto truth = dtk::true_set(context.dataset(), 0, 60, dtk::Random(1, "metric"));
    const auto rg = measured("radius_of_gyration", context, 1.25 * truth);
    const auto radius = truth.to(at::kDouble).square().sum(2).mean(1).sqrt();
    CHECK(rg.value == Approx(0.25 * radius.mean().item<double>() / (2.2 * std::pow(24, 0.38))).epsilon(1e-5));
    CHECK(part(rg, "mean in Å") == Approx(1.25 * radius.mean().item<double>()).epsilon(1e-5));
    CHECK(measured("radius_of_gyration", context, truth).value < 1e-9);

    // All angles and torsions of one kind: W_1 to the data is the mean distance from it.
    const auto angles = measured("chain_angles", context, scattered(wound(24, 100, 80), 60));
    const auto x = truth.to(at::kDouble);
    const auto bend = dtk::bond_angle(x.slice(1, 0, -2), x.slice(1, 1, -1), x.slice(1, 2)) / degree;
    CHECK(part(angles, "angles") == Approx((bend - 100).abs().mean().item<double>()).epsilon(1e-6));
    CHECK(part(angles, "angle, 50 %") == Approx(100));
    CHECK(angles.value == Approx(part(angles, "angles") + part(angles, "torsions")));
    CHECK(angles.passes() == false);
    const auto torsion = dtk::dihedral(x.slice(1, 0, -3), x.slice(1, 1, -2), x.slice(1, 2, -1), x.slice(1, 3)) / degree;
    const auto around = at::remainder(torsion - 80 + 180, 360) - 180;
    CHECK(part(angles, "torsions") <= around.abs().mean().item<double>() + 1e-6);
    CHECK(part(angles, "torsions") > 0.5 * around.abs().mean().item<double>());

    const auto strands = measured("secondary_structure", context, scattered(wound(24, 124, 178), 60));
    CHECK(part(strands, "strand") > 0.8);
    CHECK(part(strands, "helix") == 0);
    CHECK(part(strands, "true helix") > 0.2);
    CHECK(strands.passes() == false);
}

TEST_CASE("backbone bonds are those of the atoms") {
    const auto context = real("atoms = \"backbone\"\ntest = 0.3");
    const auto L = context.dataset().shape()[0];
    const dtk::Frames frames{dtk::uniform_rotations(stream.stream("frames"), {20, L, 3, 3}, at::kCPU),
                             (3.8 * dtk::unit(stream.stream("ca").normal({20, L, 3}, at::kDouble))).cumsum(1)};
    const auto ideal_ones = measured("backbone_bonds", context, dtk::backbone_atoms(frames));
    CHECK(part(ideal_ones, "N-CA") == Approx(1.458));
    CHECK(part(ideal_ones, "CA-C") == Approx(1.525));
    CHECK(part(ideal_ones, "C=O") == Approx(1.231));
    CHECK(part(ideal_ones, "N-CA deviation") < 1e-6);
    // Three of four bonds hold, C–N by chance alone.
    const double bonds = static_cast<double>(4 * L - 1);
    CHECK(ideal_ones.value >= 3 * static_cast<double>(L) / bonds);
    CHECK(ideal_ones.value < 3 * static_cast<double>(L) / bonds + 0.02);
    CHECK(*ideal_ones.expected > 0.97);
    CHECK_THROWS_WITH(make<dtk::Metric>("backbone_bonds", "", real("")), Contains("is for backbones"));
}

TEST_CASE("alike samples, copies, and stretches that never occur") {
    const auto context = real("length = 50\ncrops = 1\ntest = 0.3");
    const auto& data = context.dataset();
    const auto copies = scattered(data.test_examples(at::arange(1)).x.to(at::kDouble), 12);
    const auto alike = measured("tm_diversity", context, copies);
    CHECK(alike.value == Approx(1).epsilon(1e-6));
    CHECK(part(alike, "clusters at 0.6") == Approx(1. / 12));
    CHECK(*alike.expected < 0.45);
    CHECK(part(alike, "true clusters at 0.6") > 0.8);
    const auto copied = measured("tm_novelty", context, data.examples(at::arange(8)).x);
    CHECK(copied.value == Approx(1).epsilon(1e-5));
    CHECK(copied.passes() == false);
    CHECK(*copied.expected < 0.6);
    const auto near =
        measured("local_nativeness", context, data.test_examples(at::arange(20)).x, quick("local_nativeness"));
    const auto line = at::arange(50, at::kDouble).unsqueeze(1) * numbers({3.802, 0, 0}) + 1;
    const auto far = measured("local_nativeness", context, line.expand({20, 50, 3}), quick("local_nativeness"));
    CHECK(near.value < 1.5);
    CHECK(far.value > 2 * near.value);
    CHECK(far.passes() == false);
}

TEST_CASE("the TM-score is as great as its authors' program finds it") {
    // Of those pairs of the fixture, written by dtk::pdb_of: TMscore A.pdb B.pdb of Debian's tm-align 20190822.
    const auto context = real("length = 50\ncrops = 2");
    const std::vector<double> found{0.1748, 0.1757, 0.1551, 0.2851, 0.1456, 0.2135, 0.2309, 0.2335};
    for (std::size_t i = 0; i < found.size(); ++i) {
        INFO(i);
        const auto first = static_cast<std::int64_t>(2 * i), second = first + (i % 2 ? 1 : 2);
        const auto one = [&](std::int64_t number) {
            return context.dataset().examples(at::tensor({number}, at::kLong)).x;
        };
        const double own = dtk::tm_score(one(first), one(second)).item<double>();
        CHECK(own > found[i] - 0.012);  // both are lower bounds of the maximum
        CHECK(own < found[i] + 0.02);
    }
}

TEST_CASE("no metric of chains sees where a chain lies, and handedness alone which of two mirror images it is") {
    const auto context = ideal("length = 20\nhelix = 30");
    constexpr std::int64_t n = 24;
    const auto x = held_out(context, n).to(at::kDouble);
    const auto R = dtk::uniform_rotations(stream.stream("R"), {n, 3, 3}, at::kCPU);
    const auto moved = x.matmul(R.transpose(1, 2)) + 20 * stream.stream("shift").normal({n, 1, 3}, at::kDouble);
    const auto mirrored = x * numbers({1, 1, -1});
    for (const auto& name : of_traces) {
        INFO(name);
        const auto first = measured(name, context, x, quick(name));
        CHECK(measured(name, context, moved, quick(name)).value == Approx(first.value).epsilon(1e-6).margin(1e-9));
        CHECK(first.n > 0);
        CHECK(first.expected);
        // Distances alone, and what is seen with both hands: P-SEA takes d3 and d4 of helices as they come.
        const auto reflected = measured(name, context, mirrored, quick(name));
        if (name == "bond_validity" || name == "clashes" || name == "radius_of_gyration")
            CHECK(reflected.value == Approx(first.value));
        if (name == "handedness") {
            CHECK(part(first, "in right-handed helices") > 0.3);
            CHECK(part(reflected, "in left-handed helices") == Approx(part(first, "in right-handed helices")));
            CHECK(reflected.value == Approx(part(first, "right-handed")));
            CHECK(reflected.value > first.value + 0.2);
            CHECK(reflected.passes() == false);
        }
        if (name == "chain_angles") CHECK(reflected.value > first.value + 10);
    }
}

TEST_CASE("what is no chain is refused, and so is what is no number") {
    const auto pictures = over(::pictures(0));
    for (const auto& name : of_traces) {
        INFO(name);
        CHECK_THROWS_WITH(make<dtk::Metric>(name, "", pictures), Contains("an example is 1×4×4"));
        auto x = held_out(ideal(), 12);
        x[3][2][1] = std::nan("");
        CHECK_THROWS_WITH(measured(name, ideal(), x, quick(name)), Contains("no finite number"));
    }
    CHECK_THROWS_WITH(make<dtk::Metric>("local_nativeness", "", ideal("length = 6")), Contains("needs chains of 9"));
}

TEST_CASE("real chains score what real chains are known to score") {
    // 200 short ones; the bars are wider than what was measured of 3,550 (docs/proteins.md) by their number.
    const auto context = real("length = 64\ncrops = 1\ntest = 0.5");
    const auto& data = context.dataset();
    const auto x = data.test_examples(at::arange(data.test_size())).x;
    CHECK(measured("bond_validity", context, x).value > 0.985);
    CHECK(measured("clashes", context, x).value < 0.6);
    const auto handed = measured("handedness", context, x);
    CHECK(handed.value < 0.04);
    CHECK(part(handed, "right-handed") > 0.25);
    const auto structure = measured("secondary_structure", context, x);
    CHECK(std::abs(part(structure, "helix") - 0.31) < 0.1);
    CHECK(std::abs(part(structure, "strand") - 0.16) < 0.08);
    const auto angles = measured("chain_angles", context, x);
    CHECK(std::abs(part(angles, "angle, 50 %") - 103) < 7);
    CHECK(std::abs(part(angles, "angle, 0.1 %") - 81) < 6);
    CHECK(std::abs(part(angles, "angle, 99.9 %") - 152) < 6);
    for (const auto& name : of_traces) {
        INFO(name);
        const auto own = measured(name, context, x, name == "tm_diversity" ? "most = 10\nrepeats = 10" : quick(name));
        CHECK(own.passes() == true);
    }
}

// The table of docs/proteins.md: DTK_CHAINS=FILE chain_metrics "[real]"
TEST_CASE("the column of real chains", "[.][real]") {
    const char* file = std::getenv("DTK_CHAINS");
    REQUIRE(file);
    const Agreement on(dtk::load_chains(file));
    fmt::print(
        "P-SEA and DSSP: {:.3f} of residues, correlation of helix {:.3f} and strand {:.3f}; P-SEA helix {:.3f}, "
        "strand {:.3f}\n",
        on.same, on.helix, on.strand, on.helix_share, on.strand_share);
    for (const std::string atoms : {"ca", "backbone"}) {
        const auto context = over(make<dtk::Dataset>(
            "chains", fmt::format("file = \"{}\"\nlength = 128\ncrops = 1\ntest = 0.98\nvalidation = 0\natoms = \"{}\"",
                                  file, atoms)));
        const auto& data = context.dataset();
        const auto x = data.test_examples(at::arange(data.test_size())).x;
        auto names = of_traces;
        if (atoms == "backbone") names = {"backbone_bonds"};
        for (const auto& name : names) {
            const auto found = measured(name, context, x);
            fmt::print("{:<22}{:>10.4f}   {:.4f} ± {:.4f}   n = {}\n", name, found.value, found.expected.value_or(0),
                       found.expected_sd, found.n);
            for (const auto& [what, value] : found.parts) fmt::print("    {:<28}{:>10.4f}\n", what, value);
        }
    }
    SUCCEED();
}
