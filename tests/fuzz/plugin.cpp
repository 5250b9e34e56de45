// Plugin files: symbols are read from ELF tables that may claim anything, and none is longer than the file.
#include "base/elf.hpp"
#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::InputFile file(data, size);
    fuzz::read_or_refuse([&] {
        const auto [sections, symbols] = dtk::exported_symbols(file.path(), "dtk2");
        for (const auto& symbol : symbols) fuzz::must(symbol.size() < size);
    });
    return 0;
}
