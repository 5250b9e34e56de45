#pragma once
// The Gaussian polymer: a chain whose places are jointly normal, each drawn towards the origin and to its neighbour,
//   x_1 = b/√(1 − a²) z_1,   x_i = a x_{i−1} + b z_i,   z ~ N(0, I)
// Ingraham et al., "Illuminating protein space with a programmable generative model" (Chroma), 2023, call it the
// globular covariance. As x = R z with a triangular R it is plain noise z in other coordinates, and all of it is known
// exactly.
#include <cstdint>

#include <dtk/fields.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// How long its bonds are and how large it is; in three dimensions.
struct Polymer {
    double bond = 3.8, radius = 0;
    void fields(Fields& f) {
        f("bond", bond, above(0).measured_in("Å"), "root mean square distance between neighbours");
        f("radius", radius, at_least(0).measured_in("Å"),
          "root mean square radius of gyration; 0: 2·L^0.4, as proteins of L residues have, and at most 0.9 of an "
          "ideal chain's");
    }
    /// R, [L, L] float64, lower triangular with a diagonal above 0. Errors: Error where no chain of such bonds is so
    /// large or so small.
    DTK_API Tensor map(std::int64_t L) const;
};

}  // namespace dtk
