// Protein chains of a file that `dtk data import` has made: traces of Cα, or backbones with N, CA, C and O, in
// ångström. Chains are filtered as in Yim et al., "SE(3) Diffusion Model with Application to Protein Backbone
// Generation", 2023: by length, radius of gyration and share of loops. Families, chains that share a fifth of their
// 5-mers, are held out as a whole. Examples are crops as in Lin & AlQuraishi (Genie), 2023; their numbers say which.
#include <dtk/build_context.hpp>
#include <dtk/chains.hpp>

namespace {
struct ChainsOfFile final : dtk::ChainsDataset {
    struct Config : dtk::ChainsDataset::Config {
        std::filesystem::path file;
        void fields(dtk::Fields& f) {
            f.required("file", file, "of chains, as `dtk data import promod3` makes it");
            dtk::ChainsDataset::Config::fields(f);
        }
    };
    explicit ChainsOfFile(const Config& c) : ChainsDataset(c, dtk::load_chains(c.file), {c.file}) {}
};
}  // namespace

DTK_PLUGIN(Dataset, chains, ChainsOfFile, "protein chains, Cα traces or backbones, whole or cropped")
