// L = w_x |s (x̂_0 − x_0)|² + w_R |∇̂_R − ∇_R log q(R_t | R_0)|²/(E |∇_R|²/3) + w_a [u < u_a] (|atoms − âtoms|² + |d −
// d̂|²) means over residues; places in units of 1/s Å, as their process has them; atoms N, CA, C and O in Å that the
// frames have with ideal geometry, and the distances d of all that are nearer than 6 Å. Yim et al., "SE(3) Diffusion
// Model with Application to Protein Backbone Generation" (FrameDiff), 2023, whose code compares the angle and the axis
// of the rotation's score apart from each other; here its three numbers are together.
#include <dtk/frame_process.hpp>
#include <dtk/geometry.hpp>
#include <dtk/loss.hpp>
#include <dtk/model.hpp>
#include <dtk/rotations.hpp>
#include <dtk/structure.hpp>

namespace {

using at::Tensor;
using dtk::PredictionType;

struct Se3Score final : dtk::Loss {
    struct Config {
        double place = 1, rotation = 0.5, atoms = 0.25, atoms_before = 0.25;
        void fields(dtk::Fields& f) {
            f("place", place, dtk::at_least(0), "w_x, weight of the places");
            f("rotation", rotation, dtk::at_least(0), "w_R, weight of the score of rotations");
            f("atoms", atoms, dtk::at_least(0), "w_a, weight of atoms and their distances");
            f("atoms_before", atoms_before, dtk::in(0, 1), "u_a, the time u = (t+1)/T from which on they do not count");
        }
    } c;
    Se3Score(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto& process = dtk::frame_diffusion(context.process(), "se3_score");
        process.accept(PredictionType::score);
        if (context.model().predicts() != PredictionType::x0)
            throw dtk::Error("se3_score compares frames, and the network does not answer such",
                             "use a model that predicts x0, such as frame_ipa");
        std::vector<double> sigma;
        for (std::int64_t t = 0; t < process.steps(); ++t)
            sigma.push_back(process.rotation_sigma(static_cast<double>(t)).value());
        size_ = &constant("size", dtk::igso3_score_square(at::tensor(sigma, at::kDouble)) / 3);
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = dtk::frame_diffusion(denoise.process(), "se3_score");
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto mask = dtk::residue_mask(batch.condition, batch.x, batch.x);
        const auto answer = denoise(xt.x, t);
        const auto x0 = process.convert(answer, PredictionType::x0, xt.x, t);

        const auto mean = [&](const Tensor& of_residues) {
            return dtk::masked_mean(of_residues.unsqueeze(-1), mask).flatten();
        };
        const auto place = mean((x0 - batch.x).select(-1, 3).square().sum(-1)) * (process.scale() * process.scale());
        const auto off = process.convert(answer, PredictionType::score, xt.x, t) -
                         process.target(PredictionType::score, batch.x, xt, t);
        const auto size = size_->index_select(0, t.on(xt.x).round().to(at::kLong)).to(batch.x.scalar_type());
        const auto turn = mean(dtk::vee(off.slice(-1, 0, 3)).square().sum(-1)) / size;

        const auto T = static_cast<double>(process.steps());
        const auto near = t.map([&](double t) { return (t + 1) / T <= c.atoms_before ? 1.0 : 0.0; }).beside(place);
        const auto atoms = near * of_atoms(x0, batch.x, mask);
        return {{{.value = c.place * place + c.rotation * turn + c.atoms * atoms}},
                {{"place", place.detach()}, {"rotation", turn.detach()}, {"atoms", atoms.detach()}}};
    }

 private:
    static Tensor atoms_of(const Tensor& frames, const Tensor& mask) {
        return dtk::backbone_atoms({frames.slice(-1, 0, 3).contiguous(), frames.select(-1, 3).contiguous()}, mask);
    }

    /// [B]
    static Tensor of_atoms(const Tensor& answer, const Tensor& x0, const Tensor& mask) {
        constexpr double neighbours = 6;
        const auto B = x0.size(0), L = x0.size(1);
        const auto given = atoms_of(answer, mask).view({B, 4 * L, 3}), right = atoms_of(x0, mask).view({B, 4 * L, 3});
        const auto there = mask.repeat_interleave(4, 1);
        const auto mean = [](const Tensor& of, const Tensor& counted) {
            return (of * counted).flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1);
        };
        const auto distances = [](const Tensor& atoms) {
            return ((atoms.unsqueeze(1) - atoms.unsqueeze(2)).square().sum(-1) + 1e-6).sqrt();
        };
        const auto d = distances(right);
        const auto counted = (d < neighbours) * there.unsqueeze(1) * there.unsqueeze(2);
        return mean((given - right).square().sum(-1), there) + mean((distances(given) - d).square(), counted);
    }

    Tensor* size_;
};
}  // namespace

DTK_PLUGIN(Loss, se3_score, Se3Score, "score matching of frames, and atoms near the end (Yim et al. 2023)")
