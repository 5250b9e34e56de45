// Traces of Cα that are made residue by residue, as many as anybody asks for: neighbours are 3.802 Å apart, and angle
// and torsion are those of a helix (91 ± 3°, 50 ± 5°), a strand (124 ± 6°, −170 ± 12°) or a loop (70 … 150° and any
// torsion), each normal or uniform. Which of the three follows a Markov chain: one goes on with probability 1 − 1/m, m
// the mean length of a stretch, and else another one begins, either as likely. Nothing keeps a chain from itself, so
// that there are clashes. x_{i+1} from three residues before it as in Parsons et al., "Practical conversion from
// torsion space to Cartesian space for in silico protein synthesis", 2005.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/chain_files.hpp>
#include <dtk/dataset.hpp>
#include <dtk/geometry.hpp>
#include <dtk/secondary_structure.hpp>

namespace {

using at::Tensor;
using dtk::ideal::degree;

struct IdealChains final : dtk::Dataset, dtk::DepictsChains {
    struct Config {
        std::int64_t length = 32;
        double helix = 10, strand = 6, loop = 4, bond_sd = 0.03;
        void fields(dtk::Fields& f) {
            f("length", length, dtk::at_least(4), "residues");
            f("helix", helix, dtk::at_least(1), "mean length of a stretch of helix in residues");
            f("strand", strand, dtk::at_least(1), "of a strand");
            f("loop", loop, dtk::at_least(1), "of a loop");
            f("bond_sd", bond_sd, dtk::in(0, 1), "standard deviation of the distance of neighbours in ångström");
        }
    } c;
    IdealChains(const Config& config, const dtk::BuildContext& context)
        : c(config), random_(context.random("dataset")) {}

    std::vector<std::int64_t> shape() const override { return {c.length, 3}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return made(random_.stream("train").samples(index), index);
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return made(random_.stream("test").samples(index), index);
    }

 private:
    /// Which stretch each residue is in: [B, L] int64, loop, helix or strand.
    Tensor stretches(const dtk::Random& random, std::int64_t B) const {
        const auto u = random.stream("stretch").uniform({B, c.length}, at::kDouble);
        const auto leaves = 1 / at::tensor({c.loop, c.helix, c.strand}, at::kDouble);
        auto now = random.stream("first").integers(3, {B});
        std::vector<Tensor> all{now};
        for (std::int64_t i = 1; i < c.length; ++i) {
            const auto share = u.select(1, i) / leaves.index_select(0, now);  // below 1: another one, below ½ the next
            now = at::where(share < 0.5, (now + 1).remainder(3), at::where(share < 1, (now + 2).remainder(3), now));
            all.push_back(now);
        }
        return at::stack(all, 1);
    }

    dtk::Batch made(const dtk::Random& random, const Tensor& index) const {
        const auto B = index.numel(), L = c.length;
        const auto stretch = stretches(random, B);
        const auto of = [&](dtk::Secondary what) { return stretch == static_cast<std::int64_t>(what); };
        const auto helix = of(dtk::Secondary::helix), strand = of(dtk::Secondary::strand);
        const auto z = random.stream("normal").normal({B, L, 3}, at::kDouble);
        const auto u = random.stream("uniform").uniform({B, L, 2}, at::kDouble);
        const auto chosen = [&](int i, double h, double h_sd, double s, double s_sd, double least, double most) {
            const auto w = z.select(2, i);
            return degree * at::where(helix, h + h_sd * w,
                                      at::where(strand, s + s_sd * w, least + (most - least) * u.select(2, i)));
        };
        const auto angle = chosen(0, 91, 3, 124, 6, 70, 150), torsion = chosen(1, 50, 5, -170, 12, -180, 180);
        const auto bond = dtk::ideal::ca_ca + c.bond_sd * z.select(2, 2).clamp(-4, 4);

        // The first three lie in a plane; each further one has its angle and torsion with the three before it.
        const auto zero = at::zeros({B}, at::kDouble);
        std::vector<Tensor> x{at::stack({zero, zero, zero}, 1), at::stack({bond.select(1, 1), zero, zero}, 1)};
        const auto bend = angle.select(1, 1), step = bond.select(1, 2);
        x.push_back(x[1] + at::stack({-step * bend.cos(), step * bend.sin(), zero}, 1));
        for (std::int64_t i = 3; i < L; ++i) {
            const auto &a = x[i - 3], &b = x[i - 2], &last = x[i - 1];
            const auto along = dtk::unit(last - b), across = dtk::unit(at::linalg_cross(b - a, along)),
                       side = at::linalg_cross(across, along);
            const auto value = [&](const Tensor& of) { return of.select(1, i - 1).unsqueeze(1); };
            const auto sine = value(angle).sin(), turn = value(torsion);
            x.push_back(last +
                        bond.select(1, i).unsqueeze(1) *
                            (-value(angle).cos() * along + sine * turn.cos() * side + sine * turn.sin() * across));
        }
        return {.x = dtk::centred(at::stack(x, 1)).to(at::kFloat)};
    }

    dtk::Random random_;
};
}  // namespace

DTK_PLUGIN(Dataset, ideal_chains, IdealChains, "made traces of Cα with helices, strands and loops, without end")
