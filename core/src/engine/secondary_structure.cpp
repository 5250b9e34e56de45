#include <dtk/secondary_structure.hpp>

#include <cmath>
#include <numbers>

#include <dtk/geometry.hpp>

namespace dtk {

namespace {

/// What is known at residue i of those from i − 1 on; not a number where one of them does not exist.
struct Local {
    Tensor second, third, fourth;  ///< |x_{i+1} − x_{i−1}|, |x_{i+2} − x_{i−1}|, |x_{i+3} − x_{i−1}|
    Tensor angle, torsion;         ///< at i, and about i … i + 1

    Local(const Tensor& x, const Tensor& there) {
        const auto L = x.size(1);
        const auto from = [&](std::int64_t first, std::int64_t of) { return x.narrow(1, first, L - of + 1); };
        // Of `of` residues that follow one another from i − 1 on, laid at i.
        const auto laid = [&](const Tensor& value, std::int64_t of) {
            auto all = at::full({x.size(0), L}, std::nan(""), x.options());
            const auto whole = there.unfold(1, of, 1).all(-1);
            all.narrow(1, 1, L - of + 1).copy_(at::where(whole, value, at::full_like(value, std::nan(""))));
            return all;
        };
        const auto distance = [&](std::int64_t of) {
            return L < of ? at::full({x.size(0), L}, std::nan(""), x.options())
                          : laid((from(of - 1, of) - from(0, of)).norm(2, -1), of);
        };
        second = distance(3), third = distance(4), fourth = distance(5);
        angle = L < 3 ? second : laid(bond_angle(from(0, 3), from(1, 3), from(2, 3)), 3);
        torsion = L < 4 ? second : laid(dihedral(from(0, 4), from(1, 4), from(2, 4), from(3, 4)), 4);
    }
};

Tensor near(const Tensor& value, double centre, double reach) { return (value - centre).abs() <= reach; }
Tensor near_angle(const Tensor& value, double centre, double reach) {
    constexpr double pi = std::numbers::pi;
    return (at::remainder(value - centre * ideal::degree + pi, 2 * pi) - pi).abs() <= reach * ideal::degree;
}

/// Where `least` or more that fit follow one another.
Tensor runs(const Tensor& fits, std::int64_t least) {
    if (fits.size(1) < least) return at::zeros_like(fits);
    const auto whole = at::constant_pad_nd(fits.unfold(1, least, 1).all(-1), {least - 1, least - 1}, 0);
    return whole.unfold(1, least, 1).any(-1);
}

}  // namespace

Tensor secondary_structure(const Tensor& x, const Tensor& mask) {
    const auto there = mask.defined() ? mask > 0 : at::ones({x.size(0), x.size(1)}, at::kBool);
    const Local of(x, there);
    const auto helix = near(of.third, 5.3, 0.5)
                           .logical_and(near(of.fourth, 6.4, 0.6))
                           .logical_or(near_angle(of.angle, 89, 12).logical_and(near_angle(of.torsion, 50, 20)));
    const auto strand = near(of.second, 6.7, 0.6)
                            .logical_and(near(of.third, 9.9, 0.9))
                            .logical_and(near(of.fourth, 12.4, 1.1))
                            .logical_or(near_angle(of.angle, 124, 14).logical_and(near_angle(of.torsion, -170, 45)));
    const auto in_helix = runs(helix, 5), in_strand = runs(strand, 4).logical_and(in_helix.logical_not());
    return in_helix.to(at::kLong) * static_cast<std::int64_t>(Secondary::helix) +
           in_strand.to(at::kLong) * static_cast<std::int64_t>(Secondary::strand);
}

}  // namespace dtk
