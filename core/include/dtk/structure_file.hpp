#pragma once
// The polymers of files of the Protein Data Bank, PDB and mmCIF, as they stand there; read by gemmi.
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// Whatever a residue of a chain may lack or have too much of is left to who reads it.
struct StructureResidue {
    std::string name;      ///< "GLY"
    std::string number;    ///< "52", "52A": with its insertion code
    char letter = 'X';     ///< of the amino acid, or of the one that it is a modification of
    bool standard = true;  ///< one of the twenty
    bool inserted = false;
    int alternates = 0;  ///< atoms of the backbone that are given at several places
    std::array<std::optional<std::array<double, 3>>, 4> atoms =
        {};  ///< N, CA, C, O in ångström, the most occupied place
};

struct StructureChain {
    std::string name;
    std::vector<StructureResidue> residues;
};

struct StructureFile {
    std::int64_t models = 0;
    std::vector<StructureChain> chains;  ///< of peptides, in the first model; without water, ligands, nucleic acids
};

/// Was dtk built with gemmi?
DTK_API bool reads_structures();

/// Errors: Error where there is no gemmi, or the file cannot be read, with the reason.
DTK_API StructureFile read_structure(const std::filesystem::path& file);

}  // namespace dtk
