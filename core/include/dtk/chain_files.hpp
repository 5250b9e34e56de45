#pragma once
// Protein chains for people and other programs: pictures of Cα traces, and the formats of the Protein Data Bank.
#include <string>
#include <vector>

#include <dtk/depicts.hpp>

namespace dtk {

/// A file of the PDB format (version 3.3), each chain a model of its own, of glycines; padding is left out. x: [models,
/// L, 3] of Cα, or [models, L, 4, 3] of N, CA, C and O, in ångström. Errors: Error where a coordinate is no number, or
/// does not fit into the format's eight columns.
DTK_API std::string pdb_of(const Tensor& x, const std::string& title);
/// The same as PDBx/mmCIF, whose numbers have no columns.
DTK_API std::string mmcif_of(const Tensor& x, const std::string& title);

/// Traces of Cα as SVG: a row for each chain, from three sides along its principal axes, coloured from blue at its
/// first residue to red at its last, and once more by secondary structure (helices red, strands blue). names: of the
/// rows
DTK_API std::string svg_of_chains(const Tensor& x, const std::vector<std::string>& names);

/// A data set of chains shows them by NAME.svg, NAME.pdb and NAME.cif.
class DTK_API DepictsChains : public Depicts {
 public:
    ~DepictsChains() override;
    void depict(const std::filesystem::path& folder, const std::string& name, const Tensor& x,
                const Tensor& truth) const override;
    void depict_way(const std::filesystem::path& folder, const std::string& name, const Tensor& x) const override;
};

}  // namespace dtk
