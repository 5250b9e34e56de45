// The protein chains of a folder's PDB and mmCIF files (.pdb, .ent, .cif, .mmcif), of each the first model: traces of
// Cα, or backbones. Nothing that is odd is passed over in silence: a chain that is broken, residues without one of N,
// CA, C and O, modified ones, ones with an insertion code and atoms at several places are refused unless a field says
// what is to be done with them. Secondary structure, which filter and classes look at, is that of P-SEA. Filters, crops
// and what is held out are those of data set `chains`.
#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/build_context.hpp>
#include <dtk/chains.hpp>
#include <dtk/error.hpp>
#include <dtk/secondary_structure.hpp>
#include <dtk/structure_file.hpp>

namespace {

namespace fs = std::filesystem;
using at::Tensor;

constexpr std::size_t shown = 8;  // of what is wrong
constexpr std::array<const char*, 4> atom_names{"N", "CA", "C", "O"};

struct PdbFolder final : dtk::ChainsDataset {
    struct Config : dtk::ChainsDataset::Config {
        fs::path folder;
        std::string breaks = "refuse", missing = "refuse", modified = "refuse", inserted = "refuse",
                    alternates = "refuse";
        void fields(dtk::Fields& f) {
            f.required("folder", folder, "of PDB and mmCIF files; folders in it count, too");
            f("breaks", breaks, {"refuse", "split", "drop"},
              "a chain that is broken is refused, two chains, or left out");
            f("missing", missing, {"refuse", "split", "drop"},
              "a residue without N, CA, C or O is refused, ends the chain before it, or its chain is left out");
            f("modified", modified, {"refuse", "keep", "drop"},
              "a residue that is none of the twenty is refused, taken for what it is made of, or its chain is left "
              "out");
            f("inserted", inserted, {"refuse", "keep", "drop"},
              "a residue with an insertion code is refused, one as any other, or its chain is left out");
            f("alternates", alternates, {"refuse", "most_occupied", "drop"},
              "atoms at several places are refused, at the most occupied one, or their chain is left out");
            dtk::ChainsDataset::Config::fields(f);
        }
    };
    explicit PdbFolder(const Config& c) : PdbFolder(c, files_in(c.folder)) {}

 private:
    PdbFolder(const Config& c, const std::vector<fs::path>& files) : ChainsDataset(c, read(c, files), files) {}

    static std::vector<fs::path> files_in(const fs::path& folder) {
        if (!fs::is_directory(folder))
            throw dtk::Error(fmt::format("there is no folder {}", folder.string()),
                             "a path counts from the experiment file");
        std::vector<fs::path> files;
        for (const auto& entry : fs::recursive_directory_iterator(folder)) {
            const auto ending = entry.path().extension();
            if (entry.is_regular_file() &&
                (ending == ".pdb" || ending == ".ent" || ending == ".cif" || ending == ".mmcif"))
                files.push_back(entry.path());
        }
        std::ranges::sort(files);
        if (files.empty())
            throw dtk::Error(fmt::format("{} holds no .pdb, .ent, .cif or .mmcif file", folder.string()),
                             "decompress those that end in .gz");
        return files;
    }

    /// What is wrong, of all chains.
    struct Complaints {
        std::vector<std::string> all;
        std::set<std::string> fields;
        void add(const std::string& what, const char* field) { all.push_back(what), fields.insert(field); }
        void say(std::size_t chains) const {
            if (all.empty()) return;
            std::string text;
            for (std::size_t i = 0; i < std::min(shown, all.size()); ++i) text += "\n    " + all[i];
            if (all.size() > shown) text += fmt::format("\n    and {} more", all.size() - shown);
            throw dtk::Error(fmt::format("{} chains have what their examples would not show:{}", chains, text),
                             fmt::format("say what is to be done in {}", fmt::join(fields, ", ")));
        }
    };

    /// A stretch of residues that becomes a chain, or nothing where it is left out.
    using Piece = std::vector<const dtk::StructureResidue*>;

    static std::string letter_of(const dtk::StructureResidue& residue) {
        return fmt::format("residue {} ({})", residue.number, residue.name);
    }

    static Tensor atoms_of(const Piece& piece) {
        auto atoms = at::zeros({static_cast<std::int64_t>(piece.size()), 4, 3}, at::kFloat);
        auto* to = atoms.mutable_data_ptr<float>();
        for (const auto* residue : piece)
            for (const auto& atom : residue->atoms)
                for (const double x : *atom) *to++ = static_cast<float>(x);
        return atoms;
    }

    static std::vector<Piece> pieces_of(const Config& c, const dtk::StructureChain& chain, const std::string& where,
                                        Complaints& complaints) {
        bool dropped = false;
        // → does the residue end the chain before it?
        const auto judge = [&](const std::string& what, const std::string& choice, const char* field) {
            if (choice == "refuse") complaints.add(fmt::format("{}: {}", where, what), field);
            dropped = dropped || choice == "drop";
        };
        std::vector<Piece> pieces(1);
        for (const auto& residue : chain.residues) {
            const auto name = letter_of(residue);
            if (!residue.standard) judge(name + " is none of the twenty amino acids", c.modified, "modified");
            if (residue.inserted) judge(name + " has an insertion code", c.inserted, "inserted");
            if (residue.alternates > 0) judge(name + " has atoms at several places", c.alternates, "alternates");
            std::vector<std::string> absent;
            for (std::size_t k = 0; k < 4; ++k)
                if (!residue.atoms[k]) absent.emplace_back(atom_names[k]);
            if (absent.empty()) {
                pieces.back().push_back(&residue);
                continue;
            }
            judge(fmt::format("{} has no {}", name, fmt::join(absent, ", ")), c.missing, "missing");
            if (!pieces.back().empty()) pieces.emplace_back();
        }
        std::vector<Piece> whole;
        for (const auto& piece : pieces) {
            if (piece.empty()) continue;
            whole.emplace_back();
            const auto broken = dtk::broken_after(atoms_of(piece));
            for (std::size_t i = 0; i < piece.size(); ++i) {
                whole.back().push_back(piece[i]);
                if (i + 1 == piece.size() || !broken[static_cast<std::int64_t>(i)].item<bool>()) continue;
                judge(fmt::format("it is broken between {} and {}", letter_of(*piece[i]), letter_of(*piece[i + 1])),
                      c.breaks, "breaks");
                whole.emplace_back();
            }
        }
        return dropped ? std::vector<Piece>{} : whole;
    }

    static dtk::Chains read(const Config& c, const std::vector<fs::path>& files) {
        dtk::Chains chains;
        Complaints complaints;
        std::vector<Tensor> atoms;
        std::string letters;
        std::vector<std::int64_t> begin{0};
        std::size_t seen = 0, wrong = 0;
        for (const auto& file : files)
            for (const auto& chain : dtk::read_structure(file).chains) {
                ++seen;
                const auto before = complaints.all.size();
                const auto name = fs::relative(file, c.folder).string();
                const auto pieces = pieces_of(c, chain, fmt::format("{}, chain {}", name, chain.name), complaints);
                wrong += complaints.all.size() > before;
                for (std::size_t k = 0; k < pieces.size(); ++k) {
                    atoms.push_back(atoms_of(pieces[k]));
                    for (const auto* residue : pieces[k]) letters += residue->letter;
                    begin.push_back(static_cast<std::int64_t>(letters.size()));
                    chains.names.push_back(
                        fmt::format("{} {}{}", name, chain.name, k > 0 ? fmt::format(".{}", k + 1) : ""));
                }
            }
        complaints.say(wrong);
        if (atoms.empty())
            throw dtk::Error(fmt::format("of {} chains in {} files none is left", seen, files.size()),
                             "change `breaks`, `missing`, `modified`, `inserted` or `alternates`");
        chains.atoms = at::cat(atoms);
        chains.sequence = at::from_blob(letters.data(), {chains.atoms.size(0)}, at::kByte).clone();
        chains.begin = at::tensor(begin, at::kLong);
        chains.dssp = at::empty_like(chains.sequence);
        for (std::size_t i = 0; i + 1 < begin.size(); ++i) {
            const auto own = chains.atoms.slice(0, begin[i], begin[i + 1]).select(1, 1);
            const auto structure = dtk::secondary_structure(own.to(at::kDouble).unsqueeze(0))[0];
            chains.dssp.slice(0, begin[i], begin[i + 1])
                .copy_(at::tensor({'C', 'H', 'E'}, at::kByte).index_select(0, structure));
        }
        chains.family = dtk::families_of(chains.sequence, chains.begin);
        chains.about = {{"source", fmt::format("{} PDB and mmCIF files", files.size())}};
        return chains;
    }
};
}  // namespace

DTK_PLUGIN(Dataset, pdb_folder, PdbFolder, "protein chains of PDB and mmCIF files")
