// Headers of safetensors: what is accepted is covered by its tensors to the last byte, each in its place.
#include "base/tensor_file.hpp"
#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::InputFile file(data, size);
    fuzz::read_or_refuse([&] {
        const auto header = dtk::read_tensor_header(dtk::InputFile(file.path()), file.path());
        std::uint64_t bytes = 0;
        for (const auto& [name, entry] : header.entries) {
            fuzz::must(!name.empty() && entry.offset <= size && entry.bytes <= size - entry.offset);
            bytes += entry.bytes;
        }
        fuzz::must(bytes <= size);
        for (const auto& [name, tensor] : dtk::read_tensors(file.path())) {
            std::uint64_t count = 1;
            for (const auto one : tensor.shape) count *= static_cast<std::uint64_t>(one);
            fuzz::must(tensor.numbers().size() == count);
        }
    });
    return 0;
}
