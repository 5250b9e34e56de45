#pragma once
// What a shared library exports, read from its file: nothing of it is executed, and nothing that it claims is believed
// before the file has been seen to hold it.
#include <dtk/api.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dtk {

struct ExportedSymbols {
    std::vector<std::string> sections;  ///< the names of all sections
    std::vector<std::string> symbols;   ///< exported and lying in the section that was asked for, sorted
};

/// The symbols that `path`, a 64-bit little-endian ELF library, exports from the section of that name. At most 64 MiB
/// of the file are read. Errors: Error where it cannot be read, is no such library, or contradicts itself.
DTK_API ExportedSymbols exported_symbols(const std::filesystem::path& path, std::string_view section);

}  // namespace dtk
