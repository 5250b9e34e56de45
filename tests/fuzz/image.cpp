// PNG and JPEG images as data sets read them. Nothing is decoded of what claims more pixels than a test can wait
// for.
#include "../../core/src/engine/image_file.cpp"

#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::InputFile file(data, size);
    fuzz::read_or_refuse([&] {
        const auto image = dtk::open_image(file.path());
        if (image->height * image->width > 1'000'000) return;
        const auto values = image->pixels();
        fuzz::must(values.dim() == 3 && values.sum().item<std::int64_t>() >= 0);
    });
    return 0;
}
