// z = x
#include <dtk/codec.hpp>

namespace {
struct Identity final : dtk::Codec {
    explicit Identity(const dtk::BuildContext& context) : data_(context.dataset()) {}
    dtk::Space space() const override { return {data_.shape(), data_.range(), data_.levels()}; }
    dtk::Latents encode(const at::Tensor& x) const override { return {x}; }
    at::Tensor decode(const at::Tensor& z) const override { return z; }
    bool is_identity() const override { return true; }

 private:
    const dtk::Dataset& data_;
};
}  // namespace

DTK_PLUGIN(Codec, identity, Identity, "examples as they are")
