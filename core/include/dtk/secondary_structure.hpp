#pragma once
// Helices and strands from Cα alone: P-SEA (Labesse, Colloc'h, Pothier & Mornon 1997).
#include <cstdint>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

enum class Secondary : std::int64_t { loop, helix, strand };

/// Which each residue is in. A residue fits a helix by its distances to the second and third next one, from the one
/// before it (5.3 ± 0.5 and 6.4 ± 0.6 Å), or by angle and torsion there (89 ± 12° and 50 ± 20°); a strand by three
/// distances (6.7 ± 0.6, 9.9 ± 0.9, 12.4 ± 1.1 Å) or angles (124 ± 14°, −170 ± 45°, around the circle). Five of the one
/// that follow each other, four of the other make one. x: [B, L, 3] in ångström, mask: [B, L] of 0 and 1 → [B, L]
/// int64, loop where no residue is
DTK_API Tensor secondary_structure(const Tensor& x, const Tensor& mask = {});

}  // namespace dtk
