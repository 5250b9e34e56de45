// Protein chains: the file they are kept in, which of them are examples, what is held out, and files that are damaged.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>

#include <dtk/chains.hpp>
#include <dtk/error.hpp>
#include <dtk/geometry.hpp>
#include <dtk/safetensors.hpp>

#include "catch.hpp"
#include "run_program.hpp"
#include "support.hpp"

using at::Tensor;
using Catch::Matchers::Contains;
using support::make;

namespace {

namespace fs = std::filesystem;

const fs::path fixture = DTK_TEST_DATA "/chains.safetensors";
const fs::path small_database = fs::path(DTK_SOURCE) / "plugins/datasets/check/structure_db.dat";

std::shared_ptr<dtk::Dataset> data(const std::string& fields = {}) {
    return make<dtk::Dataset>("chains", fmt::format("file = \"{}\"\n{}", fixture.string(), fields));
}
std::shared_ptr<dtk::Dataset> database(const fs::path& file) {
    return make<dtk::Dataset>("promod3",
                              fmt::format("file = \"{}\"\nleast = 10\ncompactness = 10\nlength = 10", file.string()));
}
dtk::Batch all(const dtk::Dataset& of) { return of.examples(at::arange(of.size())); }
dtk::Batch all_held_out(const dtk::Dataset& of) { return of.test_examples(at::arange(of.test_size())); }

/// A chain of its own letters whose Cα lie on a line, residues so far apart.
dtk::Chains made(const std::vector<std::string>& sequences, double apart = 3.8) {
    dtk::Chains chains;
    std::string letters;
    std::vector<std::int64_t> begin{0};
    for (const auto& one : sequences) {
        letters += one;
        begin.push_back(static_cast<std::int64_t>(letters.size()));
        chains.names.push_back(fmt::format("1AB{} A", chains.names.size()));
    }
    const auto n = begin.back();
    chains.sequence = at::from_blob(letters.data(), {n}, at::kByte).clone();
    chains.dssp = at::full({n}, 'H', at::kByte);
    chains.begin = at::tensor(begin, at::kLong);
    chains.atoms = at::zeros({n, 4, 3}, at::kFloat);
    // N … CA … C … N, so that C–N is 1.3 Å whatever the step of Cα is made.
    const auto x = at::arange(n, at::kFloat) * apart;
    for (const auto& [atom, off] : {std::pair(0, -1.2), {1, 0.0}, {2, apart - 2.5}, {3, apart - 2.5}})
        chains.atoms.select(1, atom).select(1, 0).copy_(x + off);
    chains.family = dtk::families_of(chains.sequence, chains.begin);
    return chains;
}

std::string refusal(const std::function<void()>& work) {
    try {
        work();
    } catch (const dtk::Error& error) {
        return error.what();
    }
    return "nothing is refused";
}

std::string bytes_of(const fs::path& file) { return dtk::read_file(file); }

}  // namespace

TEST_CASE("the fixture holds real chains, whole and bonded") {
    const auto chains = dtk::load_chains(fixture);
    CHECK(chains.size() == 200);
    CHECK(chains.names[0].size() == 6);
    CHECK(std::set(chains.names.begin(), chains.names.end()).size() == 200);
    std::int64_t steps = 0, valid = 0;
    for (std::int64_t i = 0; i < chains.size(); ++i) {
        const auto atoms =
            chains.atoms.slice(0, chains.begin[i].item<std::int64_t>(), chains.begin[i + 1].item<std::int64_t>());
        CHECK_FALSE(dtk::broken_after(atoms).any().item<bool>());
        const auto step = (atoms.select(1, 1).slice(0, 1) - atoms.select(1, 1).slice(0, 0, -1)).norm(2, 1);
        steps += step.numel(), valid += ((step - dtk::ideal::ca_ca).abs() < 0.1).sum().item<std::int64_t>();
    }
    CHECK(static_cast<double>(valid) / static_cast<double>(steps) > 0.985);
    for (const char letter : std::string("HECTSG"))
        CHECK((chains.dssp == static_cast<int>(letter)).sum().item<std::int64_t>() > 50);
}

TEST_CASE("chains come back from their file as they were") {
    const Folder folder;
    auto chains = dtk::load_chains(fixture);
    dtk::save_chains(folder / "again", chains);
    const auto again = dtk::load_chains(folder / "again");
    CHECK(at::equal(again.atoms, chains.atoms));
    for (const auto& [a, b] : {std::pair(again.sequence, chains.sequence),
                               {again.dssp, chains.dssp},
                               {again.begin, chains.begin},
                               {again.family, chains.family}})
        CHECK(at::equal(a, b));
    CHECK(again.names == chains.names);
    CHECK(again.about.at("source_sha256") == chains.about.at("source_sha256"));
    CHECK(bytes_of(folder / "again") == bytes_of(fixture));
    // What is kept is the place of atoms to a hundredth of an ångström, wherever the chain lies.
    chains.atoms += 3000.004;
    dtk::save_chains(folder / "moved", chains);
    const auto moved = dtk::load_chains(folder / "moved").atoms;
    const auto n = chains.begin[1].item<std::int64_t>();
    const auto apart = [&](const Tensor& x) { return at::cdist(x.slice(0, 0, n).flatten(0, 1), x[0]); };
    CHECK((apart(moved) - apart(again.atoms)).abs().max().item<double>() < 0.02);
    CHECK_THROWS_WITH(dtk::save_chains(folder / "wide", made({"AAAAA", "CCCCCCCC"}, 99)), Contains("1AB1 A"));
    CHECK_FALSE(fs::exists(folder / "wide"));
}

TEST_CASE("a damaged file of chains says so") {
    const Folder folder;
    const auto bytes = bytes_of(fixture);
    const auto refused = [&](std::string damaged) {
        write(folder / "damaged", damaged);
        return refusal([&] { dtk::load_chains(folder / "damaged"); });
    };
    CHECK(says(refused(bytes.substr(0, bytes.size() / 2)), "damaged"));
    CHECK(says(refused(bytes.substr(0, 5)), "damaged"));
    auto other = bytes;
    other[bytes.size() - 100] ^= 1;
    CHECK(says(refused(other), "checksum"));
    dtk::save_safetensors(folder / "tensors", {{{"atoms", at::zeros({2})}}, {}});
    CHECK(says(refusal([&] { dtk::load_chains(folder / "tensors"); }), "is no file of chains"));
    CHECK(says(refusal([&] { dtk::load_chains(folder / "nothing"); }), "nothing"));
    // Sound by its checksum, and wrong: begins that do not divide the residues, a name too few.
    for (const auto& [tensor, value] : std::map<std::string, Tensor>{{"begin", at::tensor({0, 7, 5, 12}, at::kLong)},
                                                                     {"names", at::full({4}, '\n', at::kByte)},
                                                                     {"atoms", at::zeros({12, 3, 3}, at::kShort)}}) {
        INFO(tensor);
        dtk::save_chains(folder / "made", made({"ACDEF", "ACDE", "GHI"}));
        auto content = dtk::load_safetensors(folder / "made");
        content.tensors[tensor] = value;
        content.metadata["checksum"] = dtk::checksum_of(content);
        dtk::save_safetensors(folder / "made", content);
        CHECK(says(refusal([&] { dtk::load_chains(folder / "made"); }), "damaged"));
    }
}

TEST_CASE("an example is a crop of a chain that its number says, centred, padded, and masked") {
    const auto chains = dtk::load_chains(fixture);
    const auto cropped = data("length = 40\ncrops = 3"), whole = data("length = 70");
    CHECK(cropped->shape() == std::vector<std::int64_t>{40, 3});
    const auto crops = all(*cropped), chain = all(*whole);
    CHECK(crops.condition.mask.min().item<double>() == 1);
    CHECK(crops.x.size(0) == 3 * chain.x.size(0));
    CHECK(crops.x.mean(1).abs().max().item<double>() < 1e-4);
    const auto& mask = chain.condition.mask;
    CHECK(mask.sizes() == at::IntArrayRef{chain.x.size(0), 70});
    CHECK(at::equal(dtk::residues_of(chain.x), mask));
    const auto length = mask.sum(1);
    CHECK(length.min().item<double>() >= 50);
    CHECK(length.max().item<double>() <= 64);
    CHECK(length.min().item<double>() < length.max().item<double>());
    CHECK(chain.x.sum(1).abs().max().item<double>() < 1e-3);
    // Each crop lies in its chain, at another place than the others.
    for (const std::int64_t i : {std::int64_t{0}, std::int64_t{17}, chain.x.size(0) - 1}) {
        const auto n = length[i].item<std::int64_t>();
        std::set<std::int64_t> places;
        for (std::int64_t k = 0; k < 3; ++k)
            for (std::int64_t first = 0; first + 40 <= n; ++first)
                if (dtk::superposed_rmsd(crops.x[3 * i + k], chain.x[i].slice(0, first, first + 40)).item<double>() <
                    1e-3)
                    places.insert(first);
        CHECK(places.size() == 3);
    }
    const auto backbone = all(*data("length = 70\natoms = \"backbone\""));
    CHECK(backbone.x.sizes() == at::IntArrayRef{chain.x.size(0), 70, 4, 3});
    CHECK(at::equal(backbone.x.select(2, 1), chain.x));
    CHECK(at::equal(backbone.condition.mask, mask));
}

TEST_CASE("what is held out is so by families, whatever else is asked") {
    const auto on_test = data("length = 64\ntest = 0.2\nvalidation = 0.1"),
               on_validation = data("length = 64\ntest = 0.2\nvalidation = 0.1\nheld_out = \"validation\"");
    CHECK(on_test->size() == on_validation->size());
    CHECK(at::equal(all(*on_test).x, all(*on_validation).x));
    const auto rest = 200 - on_test->size() - on_test->test_size() - on_validation->test_size();
    CHECK(rest == 0);
    CHECK(std::abs(static_cast<double>(on_test->test_size()) - 40) < 4 * std::sqrt(200 * 0.2 * 0.8));
    // With fewer chains those that are left stay where they were.
    const auto few = data("length = 64\ntest = 0.2\nvalidation = 0.1\nleast = 60");
    const auto before = all_held_out(*on_test).x;
    for (const auto& one : all_held_out(*few).x.unbind())
        CHECK((before - one).abs().amax({1, 2}).min().item<double>() < 1e-5);
    for (const auto& one : all(*few).x.slice(0, 0, 20).unbind())
        CHECK((before - one).abs().amax({1, 2}).min().item<double>() > 1e-2);

    const std::string a = "ACDEFGHIKLMNPQRSTVWY", b = "YWVTSRQPNMLKIHGFEDCA", c = "AACCDDEEFFGGHHIIKKLL";
    const auto chains = made({a, b, a + b.substr(0, 8), c, c.substr(0, 10) + b.substr(0, 14), "AAAAAAAAA"});
    // 2 shares all of 0; 4 shares 6 of the 16 of 3 and 10 of the 16 of 1; all of 2's letters of b are 4 words.
    CHECK(at::equal(chains.family, at::tensor({0, 0, 0, 0, 0, 5}, at::kLong)));
    const auto apart = made({a, b, c});
    CHECK(at::equal(apart.family, at::arange(3)));
}

TEST_CASE("which chains are taken, and why none is") {
    dtk::ChainFilter filter{.least = 5, .most = 20, .compactness = 100};
    auto chains = made({std::string(4, 'A'), std::string(5, 'C'), std::string(20, 'D'), std::string(21, 'E')});
    CHECK(filter.taken(chains) == std::vector<std::int64_t>{1, 2});
    chains.dssp.slice(0, 4, 7).fill_('T');  // three of five
    CHECK(filter.taken(chains) == std::vector<std::int64_t>{2});
    filter.loops = 0.6;
    CHECK(filter.taken(chains) == std::vector<std::int64_t>{1, 2});
    filter.count = 1;
    CHECK(filter.taken(chains).size() == 1);
    filter.count = 0;
    chains.atoms.slice(0, 6, 9) += 3;  // within chain 1
    CHECK(filter.taken(chains) == std::vector<std::int64_t>{2});
    filter.compactness = 1.25;
    CHECK_THROWS_WITH(filter.taken(chains),
                      Contains("2 are not 5 … 20 residues long, 1 are broken, 1 are less compact"));
    CHECK_THROWS_WITH(data("least = 70"), Contains("200 are not 70 … 128"));
    CHECK_THROWS_WITH(data("least = 70\nmost = 60"), Contains("is above `most`"));
    CHECK_THROWS_WITH(data("held_out = \"validation\"\nvalidation = 0"), Contains("has no examples"));
    CHECK_THROWS_WITH(data("count = 1"), Contains("count"));
    CHECK_THROWS_WITH(data("chains = 2\ntest = 0.001"), Contains("none is left for"));
}

TEST_CASE("a class is what a chain has hardly any of") {
    const auto labelled = data("labels = true");
    CHECK(labelled->class_names() == std::vector<std::string>{"all-alpha", "all-beta", "mixed"});
    const auto counts = labelled->class_counts();
    const auto label = all(*labelled).condition.label;
    for (std::int64_t k = 0; k < 3; ++k) {
        CHECK(counts[static_cast<std::size_t>(k)] > 0);
        CHECK((label == k).sum().item<std::int64_t>() == counts[static_cast<std::size_t>(k)]);
    }
    // Cα of helices are 5.0 … 5.8 Å from the third next one, of strands farther than 9.
    const auto x = all(*labelled).x, mask = all(*labelled).condition.mask;
    const auto third = (x.slice(1, 3) - x.slice(1, 0, -3)).norm(2, -1);
    const auto near = (third < 6).logical_and(mask.slice(1, 3) > 0).sum(1).to(at::kFloat) / mask.sum(1);
    CHECK(near.masked_select(label == 0).mean().item<double>() > 0.5);
    CHECK(near.masked_select(label == 1).mean().item<double>() < 0.2);
    CHECK_FALSE(all(*data()).condition.label.defined());
}

TEST_CASE("a structure database that is cut short or claims too much is refused where it is wrong") {
    const Folder folder;
    const auto bytes = bytes_of(small_database);
    CHECK(database(small_database)->size() > 0);
    const auto refused = [&](const std::string& damaged) {
        write(folder / "db.dat", damaged);
        return refusal([&] { database(folder / "db.dat"); });
    };
    CHECK(says(refused(""), "damaged at byte 0"));
    CHECK(says(refused(std::string(200, 'x')), "is no structure database"));
    for (const std::size_t kept : {6, 60, 80, 100, 500, 700, 900, 5000, 9000, 20000}) {
        INFO(kept);
        CHECK(says(refused(bytes.substr(0, kept)), "damaged at byte"));
    }
    CHECK(says(refused(bytes.substr(0, bytes.size() - 1)), "the structure profiles takes"));
    CHECK(says(refused(bytes + "more"), "4 bytes follow"));
    // Counts of 2^60: nothing of the sort is allocated.
    const auto claims = [&](std::size_t at, std::uint64_t count) {
        auto other = bytes;
        std::memcpy(other.data() + at, &count, sizeof count);
        return refused(other);
    };
    CHECK(says(claims(0x4D, 1ull << 60), "it claims"));
    CHECK(says(claims(0x55 - 8 + 8, 70), "letters"));  // the length of the first name
    const std::size_t arrays = 0x55 + 16 * (4 + 4 + 4 + 1 + 4 + 2 + 2 + 12);
    CHECK(says(claims(arrays, 1ull << 60), "the sequences"));
    CHECK(says(claims(arrays, 221), "damaged"));
    auto other = bytes;
    other[0x55 + 13 + 3] = 1;  // the first residue of the first chain: 2^24
    CHECK(says(refused(other), "chain 9000 A has residues"));
    other = bytes, other[4] = 3;
    CHECK(says(refused(other), "version 3"));
    CHECK(says(refusal([&] { database(folder / "none"); }), "cannot read"));
}

TEST_CASE("dtk data import makes a file that data set chains reads, and says whose else it cannot") {
    const Folder folder;
    const auto run = dtk_program({"data", "import", "promod3", "--file", small_database.string(), "--set", "least=10",
                                  "--set", "compactness=10", "--out", "made.safetensors"},
                                 folder.path);
    INFO(run.err);
    CHECK(run.code == 0);
    CHECK(says(run.out, "16 chains, 222 residues; data set `chains` reads them"));
    const auto read =
        make<dtk::Dataset>("chains", fmt::format("file = \"{}\"\nleast = 10\ncompactness = 10\nlength = 10",
                                                 (folder / "made.safetensors").string()));
    CHECK((all(*read).x - all(*database(small_database)).x).abs().max().item<double>() < 1e-4);
    CHECK(dtk::load_chains(folder / "made.safetensors").about.at("source_sha256") ==
          dtk::sha256_of_file(small_database));
    const auto refused = [&](std::vector<std::string> words) {
        words.insert(words.begin(), {"data", "import"});
        const auto outcome = dtk_program(words, folder.path);
        CHECK(outcome.code != 0);
        CHECK_FALSE(fs::exists(folder / "none"));
        return outcome.err;
    };
    CHECK(says(refused({"moons", "--out", "none"}), "does not read what others publish"));
    CHECK(says(refused({"promod", "--out", "none"}), "promod3"));
    CHECK(says(refused({"promod3", "--file", "gone.dat", "--out", "none"}), "gone.dat"));
    CHECK(says(refused({"promod3", "--file", small_database.string(), "--set", "leest=3", "--out", "none"}), "least"));
    CHECK(says(refused({"promod3", "--file", small_database.string(), "--set", "least=10", "--set", "compactness=10",
                        "--out", "no/where/none"}),
               "no/where"));
}

TEST_CASE("the package's own file has the chains that are counted in it", "[slow]") {
    const fs::path file = "/usr/share/promod3/loop_data/structure_db.dat";
    if (!fs::exists(file)) {
        WARN("skipped: Debian's promod3-data is not installed");
        return;
    }
    const auto counted = [&](const std::string& fields) {
        const auto of = make<dtk::Dataset>("promod3", "length = 128\n" + fields);
        const auto validation = make<dtk::Dataset>("promod3", "length = 128\nheld_out = \"validation\"\n" + fields);
        return of->size() + of->test_size() + validation->test_size();
    };
    CHECK(counted("") == 3550);
    CHECK(counted("compactness = 100\nloops = 1") == 5357);
}
