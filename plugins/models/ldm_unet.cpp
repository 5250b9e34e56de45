// The U-Net of Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022: in place of
// self-attention a transformer of self-attention, attention to the tokens that a conditioner makes of a text or a
// class, and a gated layer. Without such tokens it attends to pixels alone. All else is as in model `unet`.
#include <dtk/unet.hpp>

namespace {
struct LdmUnet final : dtk::UNet {
    struct Config : dtk::UNetConfig {
        Config() {
            transformer = true;
            head_width = 32;
        }
        void fields(dtk::Fields& f) {
            size_fields(f);
            head_width_field(f);
            other_fields(f);
        }
    };
    LdmUnet(const Config& config, const dtk::BuildContext& context) : UNet(config, context) {}
};
}  // namespace

DTK_PLUGIN(Model, ldm_unet, LdmUnet, "U-Net whose pixels attend to a text (Rombach et al. 2022)")
