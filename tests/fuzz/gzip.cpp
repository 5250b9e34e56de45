// Data files that are gzip or plain: never more comes out than was asked for.
#include "input.hpp"

#include <dtk/gzip.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t at_most = 1 << 16;
    const fuzz::InputFile file(data, size);
    fuzz::read_or_refuse([&] { fuzz::must(dtk::glance(file.path(), 16).head.size() <= 16); });
    fuzz::read_or_refuse([&] { fuzz::must(dtk::read_maybe_gzip(file.path(), at_most).size() <= at_most); });
    return 0;
}
