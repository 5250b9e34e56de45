#pragma once
// Geometry of chains of residues: frames, superposition, angles. Coordinates are [..., L, 3] in ångström, float32 or
// float64, and answers have their dtype. A mask is [..., L] of 0 and 1 and says which residues exist: the first n of a
// chain, of any number type; undefined: all. Exp and Log of rotations are in dtk/rotations.hpp.
#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// One frame for each residue: what is at y in it is at R·y + x outside. Rotations are proper (det +1).
struct Frames {
    Tensor rotation;     ///< [..., L, 3, 3]
    Tensor translation;  ///< [..., L, 3]
};

/// Lengths and angles of a backbone in the mean of small molecules (Engh & Huber, "Accurate Bond and Angle Parameters
/// for X-ray Protein Structure Refinement", 1991), in ångström and radians.
namespace ideal {
constexpr double degree = 0.017453292519943295;
constexpr double n_ca = 1.458, ca_c = 1.525, c_o = 1.231, c_n = 1.329;
constexpr double n_ca_c = 111.2 * degree, ca_c_o = 120.8 * degree, ca_c_n = 116.2 * degree, c_n_ca = 121.7 * degree;
constexpr double ca_ca = 3.802;  ///< neighbours over a trans peptide bond, mean of real chains
}  // namespace ideal

/// x/|x| along the last dimension; 0 where x is 0, with finite gradients there too.
DTK_API Tensor unit(const Tensor& x);

/// The frame of each residue by Gram and Schmidt (Jumper et al. 2021, algorithm 21): its origin is CA, the first axis
/// points to C, and N lies in the plane of the first two. All [..., L, 3].
DTK_API Frames backbone_frames(const Tensor& n, const Tensor& ca, const Tensor& c);
/// N, CA, C and O of ideal lengths and angles. O lies in the plane of CA, C and the next residue's N; that of the last
/// residue, for which there is none, in the plane of N, CA and C. → [..., L, 4, 3]
DTK_API Tensor backbone_atoms(const Frames& frames, const Tensor& mask = {});

/// Frames of a trace of Cα, R = [t, n, b] with t_i along x_{i+1} − x_i, b_i along t_{i−1} × t_i and n = b × t; the
/// first and the last residue have those of their neighbours. (Lin & AlQuraishi, "Generating Novel, Designable, and
/// Diverse Protein Structures by Equivariantly Diffusing Oriented Residue Clouds", 2023, write [t, b, n], which is a
/// reflection.) Where three residues lie in one line the plane is any one. Residues that do not exist, and chains of
/// less than three, have R = I.
DTK_API Frames frenet_frames(const Tensor& x, const Tensor& mask = {});

/// x less the mean over the residues that exist, and 0 where none does.
DTK_API Tensor centred(const Tensor& x, const Tensor& mask = {});
/// Padding is 0 in every coordinate: which residues exist. x: [B, L, 3] or [B, L, atoms, 3] → [B, L] float32
DTK_API Tensor residues_of(const Tensor& x);

/// y ≈ R·x + shift.
struct Superposition {
    Tensor rotation;     ///< [..., 3, 3], proper
    Tensor translation;  ///< [..., 3]
    /// x: [..., L, 3] → [..., L, 3]
    DTK_API Tensor operator()(const Tensor& x) const;
};
/// The motion of x that leaves the least Σ w |R x + shift − y|² (Kabsch 1976), w ≥ 0 [..., L], undefined: 1.
DTK_API Superposition superposed(const Tensor& x, const Tensor& y, const Tensor& weight = {});
/// Root of the mean squared distance that is left then, by the largest root of a quartic and without the rotation
/// (Theobald, "Rapid Calculation of RMSDs Using a Quaternion-Based Characteristic Polynomial", 2005). [..., L, 3] →
/// [...]
DTK_API Tensor superposed_rmsd(const Tensor& x, const Tensor& y, const Tensor& mask = {});
/// The same of every chain of x with every one of y. [n, L, 3], [m, L, 3] → [n, m]
DTK_API Tensor superposed_rmsds(const Tensor& x, const Tensor& y);

/// TM-score of x and y whose residue i is aligned with residue i, by the length of y (Zhang & Skolnick 2004):
///   max over motions of (1/L) Σ_i 1/(1 + (d_i/d_0)²),   d_0 = 1.24 ∛(L − 15) − 1.8, at least 0.5
/// Each start, a window of the chain superposed, climbs by weighted superpositions that never lower the sum; the best
/// end counts, so that the answer is a lower bound of the maximum. [..., L, 3] → [...]
DTK_API Tensor tm_score(const Tensor& x, const Tensor& y, const Tensor& mask = {});

/// Torsion about b–c in −π … π, by the convention of IUPAC: positive where d turns clockwise, seen along b → c. All
/// [..., 3] → [...]
DTK_API Tensor dihedral(const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& d);
/// The angle at b in 0 … π. [..., 3] → [...]
DTK_API Tensor bond_angle(const Tensor& a, const Tensor& b, const Tensor& c);

}  // namespace dtk
