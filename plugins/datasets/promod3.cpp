// The protein chains of ProMod3's structure database (Studer et al., "ProMod3 – A versatile homology modelling
// toolbox", 2021; Debian: promod3-data), 21,119 of the Protein Data Bank that are no near copies of each other:
// coordinates of N, CA, C and O in hundredths of an ångström, sequence and DSSP. Read anew in every run, which takes
// seconds and a file of 520 MB: `dtk data import promod3 --out chains.safetensors` makes of it what data set `chains`
// reads at once.
//
// Little-endian and packed: u32 1234, u32 version 2, sizes and checks of types up to byte 0x4D; u64 number of chains;
// of each chain u32 length and letters of the entry, the same of the chain, u32 first residue, u16 residues, u16 first
// residue number, 3 × f32 shift; then eight arrays, u64 count and that many elements each: one-letter code (1 byte),
// coordinates (12 × u16), torsions (4 bytes), solvent accessibility (2), depth (2), DSSP (1), two profiles (40 each).
#include <array>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/chains.hpp>
#include <dtk/error.hpp>
#include <dtk/gzip.hpp>

namespace {

namespace fs = std::filesystem;
using at::Tensor;

constexpr std::uint64_t longest_name = 64;

/// The database, read from its beginning to its end; nothing that it claims is believed that the file cannot hold.
class Database {
 public:
    explicit Database(const fs::path& path) : path_(path), in_(path, std::ios::binary | std::ios::ate) {
        if (!in_)
            throw dtk::Error(fmt::format("cannot read {}", path.string()),
                             "install Debian's promod3-data, or say in `file` where its structure_db.dat is");
        size_ = static_cast<std::uint64_t>(in_.tellg());
        in_.seekg(0);
    }

    dtk::Chains chains() {
        constexpr std::uint64_t checks = 0x4D - 8, least_bytes_of_chain = 28;
        if (number<std::uint32_t>("the header") != 1234)
            throw dtk::Error(fmt::format("{} is no structure database of ProMod3", path_.string()),
                             "give its structure_db.dat");
        if (const auto version = number<std::uint32_t>("the header"); version != 2)
            throw dtk::Error(fmt::format("{} has version {} of the format, and known is 2", path_.string(), version));
        skip(checks, "the header");
        const auto n = number<std::uint64_t>("the number of chains");
        if (n > (size_ - place_) / least_bytes_of_chain)
            damaged(fmt::format("it claims {} chains, and is too short for them", n));
        dtk::Chains chains;
        std::vector<Extent> extents;
        for (std::uint64_t i = 0; i < n; ++i) {
            const auto what = fmt::format("chain {} of {}", i + 1, n);
            const auto entry = text(what), chain = text(what);
            extents.push_back({number<std::uint32_t>(what), number<std::uint16_t>(what)});
            skip(14, what);
            chains.names.push_back(entry + " " + chain);
        }
        const auto letters = array("the sequences", 1);
        const auto R = letters.size(0);
        const auto coordinates = array("the coordinates", 24, R);
        for (const auto& [what, width] : {std::pair("the torsions", 4), {"the accessibilities", 2}, {"the depths", 2}})
            array(what, width, R, false);
        const auto dssp = array("the secondary structure", 1, R);
        for (const auto* what : {"the profiles", "the structure profiles"}) array(what, 40, R, false);
        if (place_ != size_) damaged(fmt::format("{} bytes follow its end", size_ - place_));
        return laid_out(std::move(chains), extents, letters, coordinates, dssp);
    }

 private:
    struct Extent {
        std::int64_t first, residues;
    };

    [[noreturn]] void damaged(const std::string& why) const {
        throw dtk::Error(fmt::format("{} is damaged at byte {}: {}", path_.string(), place_, why),
                         "it was not copied whole: fetch it again");
    }
    void need(std::uint64_t bytes, const std::string& what) const {
        if (bytes > size_ - place_)
            damaged(fmt::format("{} takes {} bytes more, and {} are left", what, bytes, size_ - place_));
    }
    void read(void* to, std::uint64_t bytes, const std::string& what) {
        need(bytes, what);
        if (!in_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes)))
            throw dtk::Error(fmt::format("{} cannot be read beyond byte {}", path_.string(), place_));
        place_ += bytes;
    }
    void skip(std::uint64_t bytes, const std::string& what) {
        need(bytes, what);
        in_.seekg(static_cast<std::streamoff>(bytes), std::ios::cur);
        place_ += bytes;
    }
    template <class Number>
    Number number(const std::string& what) {
        Number value{};
        read(&value, sizeof value, what);
        return value;
    }
    std::string text(const std::string& what) {
        const auto length = number<std::uint32_t>(what);
        if (length > longest_name) damaged(fmt::format("a name of {} has {} letters", what, length));
        std::string letters(length, ' ');
        read(letters.data(), length, what);
        for (auto& c : letters)
            if (c <= ' ' || c > '~') c = '_';
        return letters;
    }
    /// [count, width] bytes; undefined where they are not kept. of: so many there must be
    Tensor array(const std::string& what, std::int64_t width, std::optional<std::int64_t> of = {}, bool kept = true) {
        const auto count = number<std::uint64_t>(what);
        if (of && count != static_cast<std::uint64_t>(*of))
            damaged(fmt::format("{} are of {} residues, the sequences of {}", what, count, *of));
        if (count > size_ / static_cast<std::uint64_t>(width)) need(size_, what);
        const auto bytes = count * static_cast<std::uint64_t>(width);
        need(bytes, what);
        if (!kept) {
            skip(bytes, what);
            return {};
        }
        auto all = at::empty({static_cast<std::int64_t>(count), width}, at::kByte);
        read(all.mutable_data_ptr<std::uint8_t>(), bytes, what);
        return all;
    }

    dtk::Chains laid_out(dtk::Chains chains, const std::vector<Extent>& extents, const Tensor& letters,
                         const Tensor& coordinates, const Tensor& dssp) const {
        const auto n = static_cast<std::int64_t>(extents.size());
        std::int64_t total = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const auto [first, residues] = extents[static_cast<std::size_t>(i)];
            if (residues == 0 || first + residues > letters.size(0))
                throw dtk::Error(fmt::format("{} is damaged: chain {} has residues {} … {} of {}", path_.string(),
                                             chains.names[static_cast<std::size_t>(i)], first, first + residues - 1,
                                             letters.size(0)),
                                 "it was not copied whole: fetch it again");
            total += residues;
        }
        chains.begin = at::zeros({n + 1}, at::kLong);
        chains.sequence = at::empty({total}, at::kByte), chains.dssp = at::empty({total}, at::kByte);
        chains.atoms = at::empty({total, 4, 3}, at::kFloat);
        auto* begin = chains.begin.mutable_data_ptr<std::int64_t>();
        for (std::int64_t i = 0; i < n; ++i) {
            const auto [first, residues] = extents[static_cast<std::size_t>(i)];
            begin[i + 1] = begin[i] + residues;
            chains.sequence.narrow(0, begin[i], residues).copy_(letters.narrow(0, first, residues).flatten());
            chains.dssp.narrow(0, begin[i], residues).copy_(dssp.narrow(0, first, residues).flatten());
            auto* to = chains.atoms.mutable_data_ptr<float>() + begin[i] * 12;
            const auto* from = coordinates.const_data_ptr<std::uint8_t>() + first * 24;
            for (std::int64_t k = 0; k < residues * 12; ++k) {
                std::uint16_t hundredths = 0;
                std::memcpy(&hundredths, from + 2 * k, sizeof hundredths);
                to[k] = static_cast<float>(hundredths * 0.01);
            }
        }
        chains.family = dtk::families_of(chains.sequence, chains.begin);
        return chains;
    }

    fs::path path_;
    std::ifstream in_;
    std::uint64_t size_ = 0, place_ = 0;
};

struct Promod3 final : dtk::ChainsDataset {
    struct Config : dtk::ChainsDataset::Config {
        fs::path file = "/usr/share/promod3/loop_data/structure_db.dat";
        void fields(dtk::Fields& f) {
            f("file", file, "ProMod3's structure_db.dat");
            dtk::ChainsDataset::Config::fields(f);
        }
    };
    explicit Promod3(const Config& c) : ChainsDataset(c, read(c.file), {c.file}) {}

 private:
    static dtk::Chains read(const fs::path& file) {
        auto chains = Database(file).chains();
        chains.about = {{"source", "structure_db.dat of ProMod3 (Debian package promod3-data)"},
                        {"source_sha256", dtk::sha256_of_files({file})},
                        {"licence",
                         "coordinates of the Protein Data Bank (CC0 1.0), selection and annotation of ProMod3 "
                         "(Apache-2.0)"}};
        return chains;
    }
};
}  // namespace

DTK_PLUGIN(Dataset, promod3, Promod3, "protein chains of ProMod3's structure database (Debian: promod3-data)")
