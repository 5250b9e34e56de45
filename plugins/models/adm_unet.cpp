// The U-Net of Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 3: time and class
// scale and shift the normalised channels of each block, h·(1 + s) + b with [s, b] a linear map of their embeddings'
// sum; residual blocks halve and double the size; attention at several sizes, its heads of a fixed width (64 there);
// the variance of a reverse step is learned between β̃ and β. All else is as in model `unet`.
#include <dtk/unet.hpp>

namespace {
struct AdmUnet final : dtk::UNet {
    struct Config : dtk::UNetConfig {
        Config() {
            scale_shift = residual_resize = true;
            head_width = 32;
            variance = "range";
        }
        void fields(dtk::Fields& f) {
            size_fields(f);
            head_width_field(f);
            other_fields(f);
        }
    };
    AdmUnet(const Config& config, const dtk::BuildContext& context) : UNet(config, context) {}
};
}  // namespace

DTK_PLUGIN(Model, adm_unet, AdmUnet, "U-Net scaled and shifted by time and class (Dhariwal & Nichol 2021)")
