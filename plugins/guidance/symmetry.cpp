// A chain of g equal parts that are turned into each other by a group of rotations about the origin: C_n turns about z,
// D_n also by half turns about axes across it. The network is asked with copies of the first part of x_t in the places
// of the others, so that its noise is what it is told, and x̂_0 is made of copies of the first part of what it answers.
// Watson et al., "De novo design of protein structure and function with RFdiffusion", 2023, supplementary algorithm 3.
// The last step of a sampler is x̂_0, so samples are symmetric to rounding. Networks that are told places along the
// chain take all parts for one chain.
#include <charconv>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dtk/guidance.hpp>
#include <dtk/process.hpp>
#include <dtk/rotations.hpp>

namespace {

using at::Tensor;

struct Symmetry final : dtk::Guidance {
    struct Config {
        std::string group = "C2";
        void fields(dtk::Fields& f) { f("group", group, "C2, C3 … about the axis z, or D2, D3 …"); }
    };
    Symmetry(const Config& config, const dtk::BuildContext& context) : turns_(group(config.group)) {
        const auto shape = context.space().shape;
        const bool points = shape.size() == 2 && shape[1] == 3, frames = shape.size() == 3 && shape[2] == 4;
        if (!points && !frames)
            throw dtk::Error("symmetry is of chains in space, [L, 3], or of their frames, [L, 3, 4]",
                             "use it with data of chains");
        context.process().accept(dtk::PredictionType::x0);
        if (shape[0] % turns_.size(0) != 0)
            throw dtk::Error(fmt::format("a chain of {} residues does not fall into the {} equal parts of {}", shape[0],
                                         turns_.size(0), config.group),
                             "let the order of the group divide the length");
    }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.replaced([this, denoise](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto symmetric = copies(x);
            const auto prediction = denoise(symmetric, t, condition);
            const auto x0 = denoise.process().convert(prediction, dtk::PredictionType::x0, symmetric, t);
            return dtk::Prediction{dtk::PredictionType::x0, copies(x0), prediction.variance};
        });
    }

 private:
    /// [g, 3, 3], the first of them turns nothing.
    static Tensor group(const std::string& name) {
        std::int64_t n = 0;
        const auto* end = name.data() + name.size();
        const bool cyclic = name.starts_with('C'), dihedral = name.starts_with('D');
        const bool number = name.size() > 1 && std::from_chars(name.data() + 1, end, n).ptr == end;
        if ((!cyclic && !dihedral) || !number || n < 2)
            throw dtk::Error(fmt::format("`{}` is no group of rotations that symmetry knows", name),
                             "write C2, C3 … or D2, D3 …");
        auto angles = at::zeros({n, 3}, at::kDouble);
        angles.select(1, 2).copy_(at::arange(n, at::kDouble) * (2 * std::numbers::pi / static_cast<double>(n)));
        const auto about_z = dtk::rotation(angles);
        if (cyclic) return about_z;
        const auto half = dtk::rotation(at::tensor({std::numbers::pi, 0.0, 0.0}, at::kDouble));
        return at::cat({about_z, about_z.matmul(half)});
    }

    /// The first part in all places. [B, L, 3] or [B, L, 3, 4]
    Tensor copies(const Tensor& x) const {
        const auto g = turns_.size(0);
        const auto first = x.slice(1, 0, x.size(1) / g);
        const auto turns = turns_.to(x.device(), /*non_blocking=*/true).to(x.scalar_type());
        std::vector<Tensor> parts;
        for (std::int64_t i = 0; i < g; ++i)
            parts.push_back(x.dim() == 4 ? turns[i].matmul(first) : first.matmul(turns[i].t()));
        return at::cat(parts, 1);
    }

    Tensor turns_;
};
}  // namespace

DTK_PLUGIN(Guidance, symmetry, Symmetry, "chains of equal parts turned into each other (RFdiffusion)")
