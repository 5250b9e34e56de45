// Files of the Protein Data Bank: what is written comes back, and what is odd in one that is read is named.
#include <cstdlib>
#include <functional>
#include <sstream>

#include <dtk/chain_files.hpp>
#include <dtk/chains.hpp>
#include <dtk/error.hpp>
#include <dtk/geometry.hpp>
#include <dtk/structure_file.hpp>

#include "catch.hpp"
#include "run_program.hpp"
#include "support.hpp"

using at::Tensor;
using support::make;

namespace {

namespace fs = std::filesystem;

const fs::path fixture = DTK_TEST_DATA "/chains.safetensors";

/// The first chains of the fixture, padded to 64 residues. [n, 64, 4, 3]
Tensor backbones(std::int64_t n) {
    const auto data =
        make<dtk::Dataset>("chains", fmt::format("file = \"{}\"\natoms = \"backbone\"", fixture.string()));
    return data->examples(at::arange(n)).x;
}

double apart(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

struct Atom {
    std::int64_t model;
    std::string name, residue, chain;
    std::int64_t number;
    double x, y, z;
};

/// By the columns of the format, without a library.
std::vector<Atom> atoms_of_pdb(const std::string& text) {
    std::vector<Atom> all;
    std::int64_t model = 0;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("MODEL")) model = std::stol(line.substr(10));
        if (!line.starts_with("ATOM")) continue;
        REQUIRE(line.size() == 78);
        const auto word = [&](std::size_t first, std::size_t n) {
            std::string own;
            for (const char c : line.substr(first, n))
                if (c != ' ') own += c;
            return own;
        };
        all.push_back({model, word(12, 4), word(17, 3), word(21, 1), std::stol(line.substr(22, 4)),
                       std::stod(line.substr(30, 8)), std::stod(line.substr(38, 8)), std::stod(line.substr(46, 8))});
    }
    return all;
}

/// A line of a PDB file for each atom of glycines, which `change` may alter or leave out by returning nothing.
using Change = std::function<std::string(int residue, const std::string& atom, std::string line)>;
std::string altered(const Tensor& chain, const Change& change) {
    std::istringstream lines(dtk::pdb_of(chain.unsqueeze(0), "t"));
    std::string text;
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with("ATOM")) {
            const auto changed = change(std::stoi(line.substr(22, 4)), line.substr(13, 3), line);
            text += changed.empty() ? "" : changed + "\n";
        } else {
            text += line + "\n";
        }
    return text;
}

std::string refusal(const std::function<void()>& work) {
    try {
        work();
    } catch (const dtk::Error& error) {
        return fmt::format("{}; {}", error.what(), error.help());
    }
    return "nothing is refused";
}

}  // namespace

TEST_CASE("a PDB file holds what was written, model by model, without padding") {
    const auto x = backbones(3);
    const auto atoms = atoms_of_pdb(dtk::pdb_of(x, "a 'title'"));
    std::size_t k = 0;
    for (std::int64_t m = 0; m < 3; ++m)
        for (std::int64_t i = 0; i < 64; ++i)
            for (std::int64_t a = 0; a < 4; ++a) {
                if (x[m][i].abs().max().item<double>() == 0) continue;
                REQUIRE(k < atoms.size());
                const auto& one = atoms[k++];
                CHECK(one.model == m + 1);
                CHECK(one.number == i + 1);
                CHECK(one.name == std::array{"N", "CA", "C", "O"}[static_cast<std::size_t>(a)]);
                CHECK(one.residue + one.chain == "GLYA");
                CHECK(apart(at::tensor({one.x, one.y, one.z}, at::kDouble), x[m][i][a].to(at::kDouble)) < 5.1e-4);
            }
    CHECK(k == atoms.size());
    const auto traces = atoms_of_pdb(dtk::pdb_of(x.select(2, 1), "trace"));
    CHECK(traces.size() == atoms.size() / 4);
    CHECK(traces[5].name == "CA");

    CHECK(says(refusal([&] { dtk::pdb_of(1e5 * x, "far"); }), "too far away"));
    CHECK(says(refusal([&] { dtk::pdb_of(x / 0.0, "none"); }), "no finite number"));
    CHECK(says(dtk::mmcif_of(1e5 * x, "far"), "_atom_site.Cartn_x"));
}

TEST_CASE("gemmi reads both formats back") {
    if (!dtk::reads_structures()) {
        WARN("skipped: dtk was built without gemmi");
        return;
    }
    const Folder folder;
    const auto x = backbones(2);
    for (const auto& [file, text] : {std::pair("a.pdb", dtk::pdb_of(x, "it's")), {"b.cif", dtk::mmcif_of(x, "it's")}}) {
        INFO(file);
        write(folder / file, text);
        const auto read = dtk::read_structure(folder / file);
        CHECK(read.models == 2);
        REQUIRE(read.chains.size() == 1);
        const auto n = dtk::residues_of(x)[0].sum().item<std::int64_t>();
        REQUIRE(static_cast<std::int64_t>(read.chains[0].residues.size()) == n);
        for (std::int64_t i = 0; i < n; ++i) {
            const auto& residue = read.chains[0].residues[static_cast<std::size_t>(i)];
            CHECK(residue.letter == 'G');
            CHECK(residue.number == std::to_string(i + 1));
            for (std::int64_t a = 0; a < 4; ++a) {
                const auto& place = residue.atoms[static_cast<std::size_t>(a)];
                REQUIRE(place);
                CHECK(apart(at::tensor({(*place)[0], (*place)[1], (*place)[2]}, at::kDouble),
                            x[0][i][a].to(at::kDouble)) < 5.1e-4);
            }
        }
    }
}

TEST_CASE("what is odd in a file is named by chain and residue, and a field says what is done with it") {
    if (!dtk::reads_structures()) {
        WARN("skipped: dtk was built without gemmi");
        return;
    }
    const auto x = backbones(1)[0];
    const auto n = dtk::residues_of(x.unsqueeze(0)).sum().item<std::int64_t>();
    const auto chains = [&](const std::string& text, const std::string& fields = {},
                            const std::string& name = "odd.pdb") {
        const Folder folder;
        write(folder / name, text);
        return refusal([&] {
            const auto run = make<dtk::Dataset>(
                "pdb_folder",
                fmt::format("folder = \"{}\"\nleast = 5\nloops = 1\ncompactness = 9\ntest = 0.999\nvalidation = "
                            "0\n{}",
                            folder.path.string(), fields));
            const auto* importer = dynamic_cast<const dtk::Importer*>(run.get());
            throw dtk::Error(importer->import_to(folder / "made"));
        });
    };
    const auto whole = [](int, const std::string&, std::string line) { return line; };
    // One family is all held out, or all for training: which of the two is said, and that nothing else is wrong.
    const auto taken = [&](const std::string& said, std::int64_t count) {
        return says(said, fmt::format("of {} chains none is left for", count)) ||
               says(said, fmt::format("{} chains,", count));
    };
    CHECK(taken(chains(altered(x, whole)), 1));
    struct Odd {
        const char* field;
        Change change;
        std::string said;
    };
    const std::vector<Odd> all{{"missing",
                                [](int residue, const std::string& atom, std::string line) {
                                    return residue == 20 && atom == "O  " ? std::string() : line;
                                },
                                "odd.pdb, chain A: residue 20 (GLY) has no O"},
                               {"breaks",
                                [](int residue, const std::string&, std::string line) {
                                    return residue == 20 || residue == 21 ? std::string() : line;
                                },
                                "odd.pdb, chain A: it is broken between residue 19 (GLY) and residue 22 (GLY)"},
                               {"inserted",
                                [](int residue, const std::string&, std::string line) {
                                    if (residue == 21) line.replace(22, 5, "  20A");
                                    return line;
                                },
                                "odd.pdb, chain A: residue 20A (GLY) has an insertion code"},
                               {"modified",
                                [](int residue, const std::string&, std::string line) {
                                    if (residue == 30) line.replace(0, 6, "HETATM"), line.replace(17, 3, "MSE");
                                    return line;
                                },
                                "odd.pdb, chain A: residue 30 (MSE) is none of the twenty"},
                               {"alternates",
                                [](int residue, const std::string& atom, std::string line) {
                                    if (residue != 11 || atom != "CA ") return line;
                                    auto other = line;
                                    line.replace(16, 1, "A"), line.replace(54, 6, "  0.40");
                                    other.replace(16, 1, "B"), other.replace(54, 6, "  0.60");
                                    return line + "\n" + other;
                                },
                                "odd.pdb, chain A: residue 11 (GLY) has atoms at several places"}};
    for (const auto& [field, change, said] : all) {
        INFO(field);
        const auto text = altered(x, change);
        const auto refused = chains(text);
        CHECK(says(refused, said));
        CHECK(says(refused, field));
        CHECK(says(chains(text, fmt::format("{} = \"drop\"", field)), "of 1 chains in 1 files none is left"));
        const std::string name = field;
        if (name == "missing" || name == "breaks") CHECK(taken(chains(text, name + " = \"split\""), 2));
        if (name == "inserted" || name == "modified") CHECK(taken(chains(text, name + " = \"keep\""), 1));
        if (name == "alternates") CHECK(taken(chains(text, name + " = \"most_occupied\""), 1));
    }
    // Several at once are told together.
    const auto several = chains(altered(x, [&](int residue, const std::string& atom, std::string line) {
        return atom == "N  " && residue % 5 == 0 ? std::string() : line;
    }));
    CHECK(says(several, "residue 5 (GLY) has no N"));
    CHECK(says(several, fmt::format("and {} more", n / 5 - 8)));
    // Files that are none.
    const auto cif = dtk::mmcif_of(x.unsqueeze(0), "t");
    for (const auto& [name, text] : {std::pair(std::string("cut.cif"), cif.substr(0, cif.size() * 2 / 3) + "\n'"),
                                     {"cut.cif", cif.substr(0, 60)},
                                     {"nothing.pdb", std::string()},
                                     {"words.pdb", std::string("not a structure\n")}}) {
        INFO(name);
        const auto refused = chains(text, "", name);
        CHECK((says(refused, name) || says(refused, "none is left")));
    }
    CHECK(says(refusal([] { make<dtk::Dataset>("pdb_folder", "folder = \"/nowhere\""); }), "there is no folder"));
    const Folder empty;
    CHECK(says(refusal([&] { make<dtk::Dataset>("pdb_folder", fmt::format("folder = \"{}\"", empty.path.string())); }),
               "holds no .pdb"));
}

TEST_CASE("a run over chains draws its samples, and writes them for viewers of molecules") {
    const Folder folder;
    write(folder / "chains.toml", R"(name = "chains"
[dataset]
use = "ideal_chains"
length = 12
[process]
use = "gaussian"
steps = 20
schedule = { use = "ve", sigma_min = 0.5, sigma_max = 20 }
[model]
use = "mlp"
width = 16
[train]
steps = 4
batch = 8
[sample]
n = 6
trajectory = 5
)");
    const auto run = dtk_program({"run", "chains.toml", "--out", "run", "--progress", "none"}, folder.path);
    INFO(run.err);
    CHECK(run.code == 0);
    const auto svg = read(folder / "run/samples.svg");
    CHECK(says(svg, "sample 5"));
    CHECK(says(svg, "held-out chain 5"));
    // Each of 10 rows has 6 views of 11 segments.
    std::size_t segments = 0;
    for (std::size_t at = 0; (at = svg.find("<path", at)) != svg.npos; ++at) ++segments;
    CHECK(segments == 10 * 6 * 11);
    const auto atoms = atoms_of_pdb(read(folder / "run/samples.pdb"));
    CHECK(atoms.size() == 6 * 12);
    CHECK(atoms.back().model == 6);
    CHECK(says(read(folder / "run/samples.cif"), "_atom_site.Cartn_z"));
    const auto way = atoms_of_pdb(read(folder / "run/trajectory-1.pdb"));
    CHECK(way.back().model == 5);
    CHECK(says(read(folder / "run/trajectory.svg"), "state 5 of 5"));
    const auto data = dtk_program({"data", "show", "chains.toml", "--progress", "none"}, folder.path);
    INFO(data.err);
    CHECK(data.code == 0);
    CHECK(says(read(folder / "chains-data.svg"), "example 5"));
    const auto png = dtk_program({"data", "show", "chains.toml", "--out", "x.png", "--progress", "none"}, folder.path);
    CHECK(says(png.out + png.err, "are .svg"));
}

TEST_CASE("what cannot be drawn is said with what is written on it") {
    CHECK(says(dtk::svg_of_chains(at::zeros({1, 5, 3}), {"none <&>"}), "none &lt;&amp;&gt;"));
    CHECK(says(dtk::svg_of_chains(at::full({1, 5, 3}, std::nan("")), {"none"}), "<svg"));
}
