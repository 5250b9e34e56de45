// L = min(2 |s (x̂_0 − x_0)|²/w², 5) + |Log(R_tᵀ R̂_0) − Log(R_tᵀ R_0)|²/w²,   w = max(u, 0.1),   means over residues
// Yim et al., "Fast protein backbone generation with SE(3) flow matching" (FrameFlow), 2023: the squared error of the
// velocity of places and of rotations, which near the data, where u = (t+1)/T is small, counts no more than at u = 0.1.
#include <algorithm>

#include <dtk/frame_process.hpp>
#include <dtk/loss.hpp>
#include <dtk/model.hpp>
#include <dtk/rotations.hpp>
#include <dtk/structure.hpp>

namespace {

using at::Tensor;
using dtk::PredictionType;

struct FrameFlow final : dtk::Loss {
    struct Config {
        double place = 2, rotation = 1, most = 5, nearest = 0.1;
        void fields(dtk::Fields& f) {
            f("place", place, dtk::at_least(0), "weight of places");
            f("rotation", rotation, dtk::at_least(0), "weight of rotations");
            f("most", most, dtk::above(0), "what places of an example count at most");
            f("nearest", nearest, dtk::down_from(0, 1), "u below which errors count no more than there");
        }
    } c;
    FrameFlow(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::frame_process(context.process(), "frame_flow").accept(PredictionType::velocity);
        context.process().accept(context.model().predicts());
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = dtk::frame_process(denoise.process(), "frame_flow");
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto mask = dtk::residue_mask(batch.condition, batch.x, batch.x);
        const auto x0 = process.convert(denoise(xt.x, t), PredictionType::x0, xt.x, t);
        const auto mean = [&](const Tensor& of_residues) {
            return dtk::masked_mean(of_residues.unsqueeze(-1), mask).flatten();
        };
        const auto T = static_cast<double>(process.steps());
        const auto w = t.map([&](double t) { return std::max((t + 1) / T, c.nearest); });
        const auto place = mean((x0 - batch.x).select(-1, 3).square().sum(-1)) * (process.scale() * process.scale());
        const auto way = [&](const Tensor& to) {
            return dtk::rotation_vector(xt.x.slice(-1, 0, 3).transpose(-1, -2).matmul(to.slice(-1, 0, 3)));
        };
        const auto turn = mean((way(x0) - way(batch.x)).square().sum(-1).to(batch.x.scalar_type()));
        const auto of_places = (c.place * place / square(w)).clamp_max(c.most);
        const auto of_rotations = c.rotation * turn / square(w);
        return {{{.value = of_places + of_rotations}},
                {{"place", of_places.detach()}, {"rotation", of_rotations.detach()}}};
    }
};
}  // namespace

DTK_PLUGIN(Loss, frame_flow, FrameFlow, "flow matching of frames (Yim et al. 2023, FrameFlow)")
