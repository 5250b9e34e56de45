// IDX files, plain or gzip, as the data set reads them.
#include "../../plugins/datasets/idx.cpp"

#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::InputFile file(data, size);
    for (const std::size_t dimensions : {1, 3})
        fuzz::read_or_refuse([&] {
            const IdxFile idx(file.path(), dimensions, "images");
            const auto values = idx.read();
            fuzz::must(values.sizes() == idx.shape() && values.sum().item<std::int64_t>() >= 0);
        });
    return 0;
}
