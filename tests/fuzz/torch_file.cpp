// Archives of torch.save and their pickles: what is accepted lies in its storage, and nothing is called.
#include "base/pickle.hpp"
#include "base/torch_archive.hpp"
#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::read_or_refuse([&] {
        const auto pickle = dtk::read_pickle({reinterpret_cast<const char*>(data), size});
        fuzz::must(pickle.top < pickle.values.size());
    });
    const fuzz::InputFile file(data, size);
    fuzz::read_or_refuse([&] {
        const dtk::TorchArchive archive(file.path());
        for (const auto& [name, tensor] : archive.tensors()) {
            const auto bytes = archive.bytes_of(tensor.storage);
            fuzz::must(bytes <= size && tensor.shape.size() == tensor.stride.size());
            std::string values(bytes, '\0');
            archive.read(tensor.storage, values.data());
        }
    });
    return 0;
}
