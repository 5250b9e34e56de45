// The one file that sees gemmi, built as C++17: with C++20, Clang and the standard library of GCC 12 its headers do not
// compile.
#include <dtk/error.hpp>
#include <dtk/structure_file.hpp>

#if defined(DTK_GEMMI)
#include <gemmi/mmread.hpp>
#include <gemmi/polyheur.hpp>
#include <gemmi/resinfo.hpp>
#endif

namespace dtk {

#if defined(DTK_GEMMI)

namespace {

constexpr const char* backbone[] = {"N", "CA", "C", "O"};

StructureResidue residue_of(const gemmi::Residue& from) {
    StructureResidue residue;
    residue.name = from.name;
    residue.number = from.seqid.str();
    residue.inserted = from.seqid.has_icode();
    const auto& known = gemmi::find_tabulated_residue(from.name);
    residue.standard = known.is_standard();
    const char letter = known.one_letter_code;
    residue.letter = letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A')
                     : letter > ' '                 ? letter
                                                    : 'X';
    for (std::size_t k = 0; k < 4; ++k) {
        const gemmi::Atom* best = nullptr;
        int places = 0;
        for (const auto& atom : from.atoms) {
            if (atom.name != backbone[k]) continue;
            if (k == 1 && atom.element == gemmi::El::Ca) continue;
            ++places;
            if (!best || atom.occ > best->occ) best = &atom;
        }
        if (best) residue.atoms[k] = {best->pos.x, best->pos.y, best->pos.z};
        if (places > 1) ++residue.alternates;
    }
    return residue;
}

}  // namespace

bool reads_structures() { return true; }

StructureFile read_structure(const std::filesystem::path& file) {
    try {
        auto from = gemmi::read_structure_file(file.string());
        gemmi::setup_entities(from);
        StructureFile structure;
        structure.models = static_cast<std::int64_t>(from.models.size());
        if (from.models.empty()) throw Error(file.string() + " holds no coordinates");
        for (const auto& chain : from.models.front().chains) {
            const auto polymer = chain.get_polymer();
            StructureChain own;
            own.name = chain.name;
            for (const auto& residue : polymer) {
                const auto& known = gemmi::find_tabulated_residue(residue.name);
                if (known.is_nucleic_acid()) continue;
                // Microheterogeneity: of several residues at one place the first.
                if (!own.residues.empty() && own.residues.back().number == residue.seqid.str()) {
                    ++own.residues.back().alternates;
                    continue;
                }
                own.residues.push_back(residue_of(residue));
            }
            if (!own.residues.empty()) structure.chains.push_back(std::move(own));
        }
        return structure;
    } catch (const Error&) {
        throw;
    } catch (const std::exception& error) {
        throw Error(file.string() + " cannot be read: " + error.what(), "fetch it again, or move it out of the folder");
    }
}

#else

bool reads_structures() { return false; }

StructureFile read_structure(const std::filesystem::path& file) {
    throw Error(file.string() + " cannot be read: dtk was built without gemmi",
                "install Debian's gemmi-dev and tao-pegtl-dev and build dtk again");
}

#endif

}  // namespace dtk
