#pragma once
// Backbones of protein chains: many of them in one file of dtk's own, and data sets of them.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <dtk/chain_files.hpp>
#include <dtk/dataset.hpp>
#include <dtk/fields.hpp>
#include <dtk/importer.hpp>

namespace dtk {

/// Chains one after the other: chain i has rows begin[i] … begin[i + 1] − 1.
struct Chains {
    Tensor atoms;                    ///< [residues, 4, 3] float32: N, CA, C, O in ångström
    Tensor sequence;                 ///< [residues] uint8: a letter each, X for what has none
    Tensor dssp;                     ///< [residues] uint8: H B E G I T S, and C for none of these
    Tensor begin;                    ///< [chains + 1] int64
    Tensor family;                   ///< [chains] int64: those of one number are related, see families_of
    std::vector<std::string> names;  ///< "1ABC A": entry and chain
    std::map<std::string, std::string> about = {};  ///< source, its SHA-256, licence
    std::int64_t size() const { return static_cast<std::int64_t>(names.size()); }
};

/// Chains that share a fifth of the different 5-mers of the one that has fewer, and those that such are related to,
/// have one number, the least of theirs. → [chains] int64
DTK_API Tensor families_of(const Tensor& sequence, const Tensor& begin);

/// Between which residues the chain is broken: C–N longer than 1.7 Å, or CA–CA longer than 4.3 Å. atoms: [L, 4, 3] →
/// [L − 1] bool
DTK_API Tensor broken_after(const Tensor& atoms);

/// Those chains, in that order.
DTK_API Chains some_chains(const Chains& chains, const std::vector<std::int64_t>& which);

/// One safetensors file: atoms in hundredths of an ångström about the middle of each chain (int16), 26 bytes a residue.
/// Errors: Error where a chain is wider than that can say; where the file is no such file or damaged, with the reason.
DTK_API void save_chains(const std::filesystem::path& file, const Chains& chains);
DTK_API Chains load_chains(const std::filesystem::path& file);

/// Which chains of many: unbroken ones as long as that, as compact and with as few loops.
struct DTK_API ChainFilter {
    std::int64_t least = 50, most = 128, count = 0;
    double compactness = 1.25, loops = 0.5;
    void fields(Fields& f);
    /// The numbers of those that it takes. Errors: Error that says how many were refused for what, where none is left.
    std::vector<std::int64_t> taken(const Chains& chains) const;
};

/// Chains as examples: Cα traces [length, 3], or backbones [length, 4, 3] of N, CA, C and O, the mean of the Cα at 0. A
/// longer chain gives several crops, at places that follow from its number; a shorter one is padded with zeros. Which
/// residues exist says Condition::mask, [B, length]. Families are held out as a whole, whatever the filter takes.
class DTK_API ChainsDataset : public Dataset, public Importer, public DepictsChains {
 public:
    struct DTK_API Config {
        std::string atoms = "ca", held_out = "test";
        std::int64_t length = 64, crops = 4;
        double validation = 0.05, test = 0.1;
        bool labels = false;
        ChainFilter filter;
        void fields(Fields& f);
    };
    ChainsDataset(const Config& config, const Chains& chains, std::vector<std::filesystem::path> files);
    ~ChainsDataset() override;
    std::vector<std::int64_t> shape() const override;
    std::int64_t size() const override { return static_cast<std::int64_t>(training_.size()); }
    Batch examples(const Tensor& index) const override { return batch_of(training_, index); }
    std::int64_t test_size() const override { return static_cast<std::int64_t>(testing_.size()); }
    Batch test_examples(const Tensor& index) const override { return batch_of(testing_, index); }
    std::int64_t classes() const override { return static_cast<std::int64_t>(class_names().size()); }
    std::vector<std::string> class_names() const override;
    std::string fingerprint() const override;
    std::vector<std::int64_t> class_counts() const override;
    /// Those that the filter takes, also those that are held out.
    std::string import_to(const std::filesystem::path& file) const override;

 private:
    struct Crop {
        std::int64_t chain, first;
    };
    Batch batch_of(const std::vector<Crop>& all, const Tensor& index) const;

    Config config_;
    Chains chains_;  ///< those that are examples
    std::vector<std::filesystem::path> files_;
    std::vector<std::int64_t> label_;  ///< of each chain
    std::vector<Crop> training_, testing_;
};

}  // namespace dtk
