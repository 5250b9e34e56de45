#include "base/elf.hpp"

#include <elf.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include <dtk/error.hpp>

#include "base/files.hpp"

namespace dtk {
namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "the structures of <elf.h> are read as they lie in the file");

namespace {

constexpr std::uint64_t most_table_bytes = 1 << 26;
constexpr std::size_t longest_symbol = 4'096;

class ElfFile {
 public:
    explicit ElfFile(const fs::path& path) : file_(path), path_(path) {
        Elf64_Ehdr header;
        if (file_.size() < sizeof header) refuse("is not a shared library");
        file_.read(0, &header, sizeof header);
        if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) refuse("is not a shared library");
        if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN)
            refuse("is not a shared library for this machine");
        if (header.e_shentsize != sizeof(Elf64_Shdr)) refuse("has no list of sections");
        sections_ = table<Elf64_Shdr>(header.e_shoff, std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr));
        if (header.e_shstrndx >= sections_.size()) refuse("does not name its sections");
        names_ = text(sections_[header.e_shstrndx]);
    }

    const std::vector<Elf64_Shdr>& sections() const { return sections_; }
    std::string name(const Elf64_Shdr& section) const { return text_at(names_, section.sh_name); }

    std::vector<Elf64_Sym> symbols(const Elf64_Shdr& section) const {
        return table<Elf64_Sym>(section.sh_offset, section.sh_size);
    }
    std::string text(const Elf64_Shdr& section) const {
        const auto bytes = table<char>(section.sh_offset, section.sh_type == SHT_NOBITS ? 0 : section.sh_size);
        return {bytes.begin(), bytes.end()};
    }
    /// The text that begins there and ends with a zero.
    std::string text_at(const std::string& all, std::uint64_t begin) const {
        const auto end = begin < all.size() ? all.find('\0', begin) : all.npos;
        if (end == all.npos || end - begin > longest_symbol) refuse("has a name that does not end");
        return all.substr(begin, end - begin);
    }
    [[noreturn]] void refuse(const char* why) const { throw Error(fmt::format("{} {}", path_.string(), why)); }

 private:
    template <class Entry>
    std::vector<Entry> table(std::uint64_t offset, std::uint64_t bytes) const {
        if (offset > file_.size() || bytes > file_.size() - offset) refuse("is cut short");
        if (bytes > most_table_bytes) refuse("has a table that is too large");
        std::vector<Entry> entries(bytes / sizeof(Entry));
        file_.read(offset, entries.data(), entries.size() * sizeof(Entry));
        return entries;
    }

    InputFile file_;
    const fs::path& path_;
    std::vector<Elf64_Shdr> sections_;
    std::string names_;
};

}  // namespace

ExportedSymbols exported_symbols(const fs::path& path, std::string_view section) {
    const ElfFile elf(path);
    ExportedSymbols found;
    for (const auto& one : elf.sections()) found.sections.push_back(elf.name(one));
    const auto wanted = std::ranges::find(found.sections, section) - found.sections.begin();
    for (const auto& one : elf.sections()) {
        if (one.sh_type != SHT_DYNSYM) continue;
        if (one.sh_link >= elf.sections().size()) elf.refuse("has symbols without names");
        const auto names = elf.text(elf.sections()[one.sh_link]);
        for (const auto& symbol : elf.symbols(one))
            if (symbol.st_shndx == wanted && ELF64_ST_BIND(symbol.st_info) != STB_LOCAL &&
                ELF64_ST_VISIBILITY(symbol.st_other) == STV_DEFAULT)
                found.symbols.push_back(elf.text_at(names, symbol.st_name));
    }
    std::sort(found.symbols.begin(), found.symbols.end());
    found.symbols.erase(std::unique(found.symbols.begin(), found.symbols.end()), found.symbols.end());
    return found;
}

}  // namespace dtk
