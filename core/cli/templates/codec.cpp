//! codec="my_codec"
// z = x/scale: what the chain lives in, and the way back to examples.
#include <dtk/codec.hpp>

namespace {
struct MyCodec final : dtk::Codec {
    struct Config {
        double scale = 2;
        void fields(dtk::Fields& f) { f("scale", scale, dtk::above(0), "what examples are divided by"); }
    } c;
    MyCodec(const Config& config, const dtk::BuildContext& context) : c(config), data_(context.dataset()) {}

    dtk::Space space() const override { return {data_.shape(), {}, 0}; }  // shape, range and levels of the latents
    // A codec with a spread answers {mean, variance}.
    dtk::Latents encode(const at::Tensor& x) const override { return {x / c.scale}; }
    at::Tensor decode(const at::Tensor& z) const override { return z * c.scale; }

 private:
    const dtk::Dataset& data_;
};
}  // namespace

DTK_PLUGIN(Codec, my_codec, MyCodec, "examples divided by a number")
