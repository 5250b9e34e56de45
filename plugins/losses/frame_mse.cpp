// L = Σ_k γ^(K−k) L_k / Σ_k γ^(K−k),   L_k = mean over residues of w_x min(|x − x̂|, d)² + w_R |I − R̂ᵀR|²
// of the frames at t = 0 that the network has after each of its blocks, k = 1 … K: their distance as they stand,
// without superposition, so that the chain keeps its place from step to step. Watson et al., "De novo design of protein
// structure and function with RFdiffusion", 2023, supplementary table 6, without its cross-entropy of binned pair
// geometry.
#include <cmath>

#include <dtk/block_answers.hpp>
#include <dtk/frame_process.hpp>
#include <dtk/loss.hpp>
#include <dtk/model.hpp>
#include <dtk/structure.hpp>

namespace {

using at::Tensor;

struct FrameMse final : dtk::Loss {
    struct Config {
        double place = 0.5, rotation = 1, clamp = 10, depth = 0.99;
        void fields(dtk::Fields& f) {
            f("place", place, dtk::at_least(0), "w_x, weight of the squared distance of places, in Å²");
            f("rotation", rotation, dtk::at_least(0), "w_R, weight of the squared distance of rotations");
            f("clamp", clamp, dtk::above(0).measured_in("Å"), "d, beyond which a place is as wrong as can be");
            f("depth", depth, dtk::down_from(0, 1), "γ, how much a block counts as a share of the next one");
        }
    } c;
    FrameMse(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::frame_process(context.process(), "frame_mse");
        context.process().accept(dtk::PredictionType::x0);
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto answers = dtk::all_blocks(denoise, xt.x, t);
        const auto mask = dtk::residue_mask(batch.condition, batch.x, batch.x);
        const auto of = [&](const Tensor& value) {
            return error(process.convert({answers.last.type, value, {}}, dtk::PredictionType::x0, xt.x, t), batch.x,
                         mask);
        };
        auto sum = of(answers.last.value);
        double weight = 1, all = 1;
        for (auto block = answers.before.rbegin(); block != answers.before.rend(); ++block) {
            weight *= c.depth, all += weight;
            sum = sum + weight * of(*block);
        }
        return {{{.value = sum / all}}};
    }

 private:
    /// → [B]
    Tensor error(const Tensor& answer, const Tensor& x0, const Tensor& mask) const {
        const auto off = answer - x0;
        const auto place = off.select(-1, 3).square().sum(-1).clamp_max(c.clamp * c.clamp);
        // |I − R̂ᵀR| = |R̂ − R|
        const auto turn = off.slice(-1, 0, 3).square().sum({2, 3});
        return dtk::masked_mean((c.place * place + c.rotation * turn).unsqueeze(-1), mask).flatten();
    }
};
}  // namespace

DTK_PLUGIN(Loss, frame_mse, FrameMse,
           "squared distance of frames, not superposed, over all blocks (Watson et al. 2023)")
