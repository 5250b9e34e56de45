// What chains are examples, and what is held out.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include <dtk/chains.hpp>
#include <dtk/geometry.hpp>
#include <dtk/gzip.hpp>

namespace dtk {

namespace {

constexpr double longest_peptide_bond = 1.7, farthest_neighbours = 4.3;  // Å
constexpr int word = 5;                                                  // residues whose letters are compared
constexpr double related = 0.2;                                          // of the words of the one that has fewer
constexpr double hardly_any = 0.1;                                       // of an all-α chain in strands, and so on

/// The different 5-mers of a chain as numbers, rising.
std::vector<std::uint64_t> words_of(const std::uint8_t* letters, std::int64_t n) {
    std::vector<std::uint64_t> all;
    for (std::int64_t i = 0; i + word <= n; ++i) {
        std::uint64_t one = 0;
        for (int k = 0; k < word; ++k) one = one << 8 | letters[i + k];
        all.push_back(one);
    }
    std::ranges::sort(all);
    all.erase(std::ranges::unique(all).begin(), all.end());
    return all;
}

/// Sets that are joined one by one, each called by its least member.
struct Sets {
    std::vector<std::int64_t> up;
    explicit Sets(std::int64_t n) : up(static_cast<std::size_t>(n)) { std::iota(up.begin(), up.end(), 0); }
    std::int64_t of(std::int64_t i) {
        auto& above = up[static_cast<std::size_t>(i)];
        while (above != up[static_cast<std::size_t>(above)]) above = up[static_cast<std::size_t>(above)];
        return above;
    }
    void join(std::int64_t i, std::int64_t j) {
        const auto [least, most] = std::minmax({of(i), of(j)});
        up[static_cast<std::size_t>(most)] = least;
    }
};

/// What share of a chain's residues has one of those letters?
double share_of(const Tensor& dssp, std::string_view letters) {
    const auto* one = dssp.const_data_ptr<std::uint8_t>();
    const auto n = std::count_if(one, one + dssp.numel(),
                                 [&](auto c) { return letters.find(static_cast<char>(c)) != letters.npos; });
    return static_cast<double>(n) / static_cast<double>(dssp.numel());
}
constexpr std::string_view helix = "HGI", strand = "EB", loop = "CTS";

double radius_of_gyration(const Tensor& ca) {
    return std::sqrt((ca - ca.mean(0)).square().sum(1).mean().item<double>());
}

/// Of each chain a number in 0 … 1 that its family shares, by the least of their names.
std::vector<double> lots_of(const Chains& chains) {
    std::map<std::int64_t, std::string> name;
    const auto* family = chains.family.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < chains.size(); ++i) {
        auto& least = name[family[i]];
        const auto& own = chains.names[static_cast<std::size_t>(i)];
        if (least.empty() || own < least) least = own;
    }
    std::map<std::int64_t, double> lot;
    const Random random(0, "families");
    for (const auto& [number, least] : name)
        lot[number] = random.stream(least).uniform({1}, at::kDouble).item<double>();
    std::vector<double> all;
    for (std::int64_t i = 0; i < chains.size(); ++i) all.push_back(lot.at(family[i]));
    return all;
}

}  // namespace

Tensor families_of(const Tensor& sequence, const Tensor& begin) {
    const auto n = begin.numel() - 1;
    const auto* first = begin.const_data_ptr<std::int64_t>();
    const auto letters = sequence.contiguous();
    std::vector<std::vector<std::uint64_t>> words;
    std::vector<std::pair<std::uint64_t, std::int64_t>> all;  // word and chain
    for (std::int64_t i = 0; i < n; ++i) {
        words.push_back(words_of(letters.const_data_ptr<std::uint8_t>() + first[i], first[i + 1] - first[i]));
        for (const auto one : words.back()) all.emplace_back(one, i);
    }
    std::ranges::sort(all);
    Sets sets(n);
    std::vector<std::int64_t> shared(static_cast<std::size_t>(n), 0), met;
    for (std::int64_t i = 0; i < n; ++i) {
        const auto own = words[static_cast<std::size_t>(i)].size();
        for (const auto one : words[static_cast<std::size_t>(i)])
            for (auto at = std::ranges::lower_bound(all, std::pair(one, std::int64_t{0}));
                 at != all.end() && at->first == one && at->second < i; ++at)
                if (shared[static_cast<std::size_t>(at->second)]++ == 0) met.push_back(at->second);
        for (const auto j : met) {
            const auto fewer = std::min(own, words[static_cast<std::size_t>(j)].size());
            auto& both = shared[static_cast<std::size_t>(j)];
            if (static_cast<double>(both) >= related * static_cast<double>(fewer)) sets.join(i, j);
            both = 0;
        }
        met.clear();
    }
    auto family = at::empty({n}, at::kLong);
    for (std::int64_t i = 0; i < n; ++i) family.mutable_data_ptr<std::int64_t>()[i] = sets.of(i);
    return family;
}

Tensor broken_after(const Tensor& atoms) {
    const auto before = atoms.slice(0, 0, -1), after = atoms.slice(0, 1);
    const auto bond = (after.select(1, 0) - before.select(1, 2)).norm(2, 1),
               step = (after.select(1, 1) - before.select(1, 1)).norm(2, 1);
    return (bond > longest_peptide_bond).logical_or(step > farthest_neighbours);
}

Chains some_chains(const Chains& chains, const std::vector<std::int64_t>& which) {
    const auto* begin = chains.begin.const_data_ptr<std::int64_t>();
    Chains some{.begin = at::zeros({static_cast<std::int64_t>(which.size()) + 1}, at::kLong), .about = chains.about};
    std::vector<Tensor> atoms, sequence, dssp;
    for (std::size_t k = 0; k < which.size(); ++k) {
        const auto i = which[k], first = begin[i], end = begin[i + 1];
        atoms.push_back(chains.atoms.slice(0, first, end));
        sequence.push_back(chains.sequence.slice(0, first, end));
        dssp.push_back(chains.dssp.slice(0, first, end));
        auto* place = some.begin.mutable_data_ptr<std::int64_t>() + k;
        place[1] = place[0] + (end - first);
        some.names.push_back(chains.names[static_cast<std::size_t>(i)]);
    }
    if (!which.empty()) some.atoms = at::cat(atoms), some.sequence = at::cat(sequence), some.dssp = at::cat(dssp);
    some.family = chains.family.index_select(0, at::tensor(which, at::kLong));
    return some;
}

void ChainFilter::fields(Fields& f) {
    f("least", least, at_least(3), "residues of the shortest chain that is taken");
    f("most", most, at_least(3), "residues of the longest one");
    f("compactness", compactness, above(0),
      "largest radius of gyration, in 2.2·N^0.38 Å, which globular chains of N residues have");
    f("loops", loops, in(0, 1), "largest share of residues in neither helix (DSSP: H, G, I) nor strand (E, B)");
    f("chains", count, at_least(0), "so many of those, evenly among them; 0: all");
    f.require(least <= most, "least", "is above `most`", "make `most` larger");
}

std::vector<std::int64_t> ChainFilter::taken(const Chains& chains) const {
    const auto* begin = chains.begin.const_data_ptr<std::int64_t>();
    std::vector<std::int64_t> all;
    std::int64_t length_off = 0, broken = 0, spread = 0, loose = 0;
    for (std::int64_t i = 0; i < chains.size(); ++i) {
        const auto n = begin[i + 1] - begin[i];
        if (n < least || n > most) {
            ++length_off;
            continue;
        }
        const auto atoms = chains.atoms.slice(0, begin[i], begin[i + 1]);
        if (broken_after(atoms).any().item<bool>())
            ++broken;
        else if (radius_of_gyration(atoms.select(1, 1)) > compactness * 2.2 * std::pow(n, 0.38))
            ++spread;
        else if (share_of(chains.dssp.slice(0, begin[i], begin[i + 1]), loop) > loops)
            ++loose;
        else
            all.push_back(i);
    }
    if (all.empty())
        throw Error(
            fmt::format("of {} chains none is left: {} are not {} … {} residues long, {} are broken, {} are less "
                        "compact than that, and {} have more loops",
                        chains.size(), length_off, least, most, broken, spread, loose),
            "change `least`, `most`, `compactness` or `loops`");
    const auto there = static_cast<std::int64_t>(all.size());
    if (count == 0 || count >= there) return all;
    std::vector<std::int64_t> some;
    for (std::int64_t k = 0; k < count; ++k) some.push_back(all[static_cast<std::size_t>(k * there / count)]);
    return some;
}

void ChainsDataset::Config::fields(Fields& f) {
    f("atoms", atoms, {"ca", "backbone"}, "of each residue: CA, or N, CA, C and O");
    f("length", length, at_least(3),
      "residues of an example; longer chains are cropped, shorter ones padded with zeros");
    f("crops", crops, at_least(1), "examples of a longer chain, all different, or as many as there are");
    filter.fields(f);
    f("validation", validation, up_from(0, 1), "share of families that training never sees, to choose by");
    f("test", test, inside(0, 1), "share of families that training never sees, to judge by");
    f("held_out", held_out, {"test", "validation"}, "which of these the held-out examples are");
    f("labels", labels,
      "label each example with its chain's class: less than a tenth of its residues in strands, in helices, or "
      "neither");
    f.require(validation + test < 1, "test", "and `validation` leave nothing for training", "make them smaller");
    f.require(held_out == "test" || validation > 0, "held_out", "has no examples", "make `validation` larger than 0");
}

ChainsDataset::ChainsDataset(const Config& config, const Chains& chains, std::vector<std::filesystem::path> files)
    : config_(config), files_(std::move(files)) {
    const auto lot = lots_of(chains);
    const auto taken = config.filter.taken(chains);
    chains_ = some_chains(chains, taken);
    const auto* begin = chains_.begin.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < chains_.size(); ++i) {
        const auto dssp = chains_.dssp.slice(0, begin[i], begin[i + 1]);
        const bool few_strands = share_of(dssp, strand) < hardly_any, few_helices = share_of(dssp, helix) < hardly_any;
        label_.push_back(few_strands == few_helices ? 2 : few_helices ? 1 : 0);
        const auto place = lot[static_cast<std::size_t>(taken[static_cast<std::size_t>(i)])];
        const bool for_test = place < config.test,
                   for_validation = !for_test && place < config.test + config.validation;
        if (for_test || for_validation)
            if (for_test != (config.held_out == "test")) continue;
        const auto windows = std::max<std::int64_t>(1, begin[i + 1] - begin[i] - config.length + 1);
        auto& all = for_test || for_validation ? testing_ : training_;
        for (std::int64_t k = 0; k < std::min(config.crops, windows); ++k)
            all.push_back({i, permuted(k, windows, /*seed=*/0, /*epoch=*/i)});
    }
    for (const auto& [part, what] : {std::pair(&training_, "training"), {&testing_, config.held_out.c_str()}})
        if (part->empty())
            throw Error(fmt::format("of {} chains none is left for {}", chains_.size(), what),
                        "take more chains, or change `test` and `validation`");
}

Importer::~Importer() = default;
ChainsDataset::~ChainsDataset() = default;

std::vector<std::int64_t> ChainsDataset::shape() const {
    if (config_.atoms == "ca") return {config_.length, 3};
    return {config_.length, 4, 3};
}

std::vector<std::string> ChainsDataset::class_names() const {
    if (!config_.labels) return {};
    return {"all-alpha", "all-beta", "mixed"};
}

std::string ChainsDataset::fingerprint() const { return sha256_of_files(files_); }

std::vector<std::int64_t> ChainsDataset::class_counts() const {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(classes()), 0);
    if (config_.labels)
        for (const auto& crop : training_)
            ++counts[static_cast<std::size_t>(label_[static_cast<std::size_t>(crop.chain)])];
    return counts;
}

std::string ChainsDataset::import_to(const std::filesystem::path& file) const {
    save_chains(file, chains_);
    return fmt::format("{} chains, {} residues; data set `chains` reads them", chains_.size(),
                       chains_.sequence.numel());
}

Batch ChainsDataset::batch_of(const std::vector<Crop>& all, const Tensor& index) const {
    const auto B = index.numel(), L = config_.length;
    const auto which = index.contiguous();
    auto x = at::zeros({B, L, 4, 3}, at::kFloat), mask = at::zeros({B, L}, at::kFloat),
         label = at::zeros({B}, at::kLong);
    const auto* begin = chains_.begin.const_data_ptr<std::int64_t>();
    for (std::int64_t row = 0; row < B; ++row) {
        const auto number = which.const_data_ptr<std::int64_t>()[row];
        if (number < 0 || number >= static_cast<std::int64_t>(all.size()))
            throw Error(fmt::format("example {} was asked for, and there are {}", number, all.size()));
        const auto [chain, first] = all[static_cast<std::size_t>(number)];
        const auto n = std::min(L, begin[chain + 1] - begin[chain] - first);
        const auto atoms = chains_.atoms.narrow(0, begin[chain] + first, n);
        x[row].narrow(0, 0, n).copy_(atoms - atoms.select(1, 1).mean(0));
        mask[row].narrow(0, 0, n).fill_(1);
        label[row] = label_[static_cast<std::size_t>(chain)];
    }
    Batch batch{.x = config_.atoms == "ca" ? x.select(2, 1).contiguous() : x};
    batch.condition.mask = mask;
    if (config_.labels) batch.condition.label = label;
    return batch;
}

}  // namespace dtk
