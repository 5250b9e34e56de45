#include <dtk/encoder.hpp>

#include <fmt/format.h>

#include <dtk/error.hpp>

namespace dtk {

void Encoder::Config::fields(Fields& f) {
    f("channels", channels, at_least(1), "units of a layer; of images, channels of the first level");
    f("levels", levels, in(0, 16), "layers; of images, levels, each of half the size and with twice the channels");
}

Encoder::Encoder(const Random& random, const Config& config, const std::vector<std::int64_t>& shape,
                 std::int64_t outputs)
    : image_(shape.size() == 3) {
    auto in = image_ ? shape[0] : 1, out = config.channels;
    auto height = image_ ? shape[1] : 1, width = image_ ? shape[2] : 1;
    if (!image_)
        for (const auto size : shape) in *= size;
    for (std::int64_t i = 0; i < config.levels; ++i, in = out, out *= image_ ? 2 : 1) {
        if (!image_) {
            layers_.push_back(child<Linear>(fmt::format("layer{}", i), random, in, out));
            continue;
        }
        if (std::min(height, width) < 2)
            throw Error(
                fmt::format("images of {}×{} pixels cannot be halved {} times", shape[1], shape[2], config.levels),
                "ask for fewer `levels`");
        height = (height + 1) / 2;
        width = (width + 1) / 2;
        convolutions_.push_back(child<Conv2d>(fmt::format("conv{}", i), random, in, out, 3, 2));
    }
    out_ = child<Linear>("out", random, in * height * width, outputs);
}

Tensor Encoder::operator()(const Tensor& x) const {
    auto h = image_ ? to_image_layout(x.to(at::kFloat)) : x.flatten(1).to(at::kFloat);
    for (const auto& layer : layers_) h = at::silu((*layer)(h));
    for (const auto& convolution : convolutions_) h = at::silu((*convolution)(h));
    return (*out_)(h.flatten(1));
}

}  // namespace dtk
