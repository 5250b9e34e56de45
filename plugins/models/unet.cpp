// The U-Net of Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, app. B: residual blocks of
// GroupNorm, SiLU, convolution, with the time added in between, self-attention at some sizes and always in the middle,
// every output of the way down concatenated on the way up, last layers zero at the start. Time is presented as
// 1000·t/T.
#include <dtk/unet.hpp>

namespace {
struct Unet final : dtk::UNet {
    struct Config : dtk::UNetConfig {
        void fields(dtk::Fields& f) {
            size_fields(f);
            heads_field(f);
            other_fields(f);
        }
    };
    Unet(const Config& config, const dtk::BuildContext& context) : UNet(config, context) {}
};
}  // namespace

DTK_PLUGIN(Model, unet, Unet, "U-Net for images (Ho et al. 2020)")
