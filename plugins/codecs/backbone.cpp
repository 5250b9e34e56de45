// (N, CA, C, O) of each residue ↔ its frame (R, x): x is CA, the first axis of R points to C, and N lies in the plane
// of the first two (Jumper et al. 2021, algorithm 21). Back the atoms have ideal lengths and angles, so that what comes
// back is the backbone as near as a chain of rigid residues can be to it. [L, 4, 3] ↔ [L, 3, 4]
#include <dtk/codec.hpp>
#include <dtk/geometry.hpp>

namespace {

using at::Tensor;

struct Backbone final : dtk::Codec {
    explicit Backbone(const dtk::BuildContext& context) {
        const auto shape = context.dataset().shape();
        if (shape.size() != 3 || shape[1] != 4 || shape[2] != 3)
            throw dtk::Error("codec `backbone` is of chains of N, CA, C and O, [L, 4, 3]",
                             "use data such as `chains` with atoms = \"backbone\"");
        residues_ = shape[0];
    }

    dtk::Space space() const override { return {{residues_, 3, 4}}; }

    /// What does not exist, and is 0, has the frame that turns nothing, at 0.
    dtk::Latents encode(const Tensor& x) const override {
        const auto there = dtk::residues_of(x).to(x.scalar_type()).unsqueeze(-1).unsqueeze(-1);
        const auto frames = dtk::backbone_frames(x.select(-2, 0), x.select(-2, 1), x.select(-2, 2));
        const auto R = there * frames.rotation + (1 - there) * at::eye(3, x.options());
        return {at::cat({R, frames.translation.unsqueeze(-1)}, -1)};
    }

    /// Residues that stand where nothing is, at exactly 0, come back as 0.
    Tensor decode(const Tensor& z) const override {
        const auto place = z.select(-1, 3);
        const auto there = dtk::residues_of(place);
        return dtk::backbone_atoms({z.slice(-1, 0, 3).contiguous(), place.contiguous()}, there) *
               there.to(z.scalar_type()).unsqueeze(-1).unsqueeze(-1);
    }

 private:
    std::int64_t residues_ = 0;
};
}  // namespace

DTK_PLUGIN(Codec, backbone, Backbone, "backbones as the frames of their residues")
