// Two half circles that reach into each other, with equal probability, φ ~ U(0, π):
//   moon 0: (cos φ, sin φ),   moon 1: (1 − cos φ, ½ − sin φ),   each + noise·z, z ~ N(0, I),
// then centred and divided by one number so that the mean variance of the two axes is 1.
#include <cmath>
#include <dtk/build_context.hpp>
#include <dtk/densities.hpp>
#include <numbers>

namespace {

using at::Tensor;

Tensor moon0(const Tensor& phi) { return at::stack({phi.cos(), phi.sin()}, 1); }
/// Moon 1 is moon 0 turned by half a turn about the centre of the data.
Tensor moon1(const Tensor& phi) { return at::stack({1 - phi.cos(), 0.5 - phi.sin()}, 1); }

class TwoMoons final : public dtk::SmearedCurve {
 public:
    TwoMoons(const dtk::QuadratureNodes& phi, double noise)
        : SmearedCurve(at::cat({moon0(phi.at), moon1(phi.at)}),
                       at::cat({phi.weight, phi.weight}) / (2 * std::numbers::pi), noise) {}

    /// By symmetry, whatever the noise.
    std::vector<double> mode_weights() const override { return {0.5, 0.5}; }

    /// The moon that most probably made x.
    Tensor nearest_mode(const Tensor& x) const override {
        const auto one = at::ones({x.size(0)}, x.options().dtype(at::kDouble));
        const auto of_moon =
            log_terms(x.to(at::kDouble), one, at::zeros_like(one)).reshape({x.size(0), 2, -1}).logsumexp(2);
        return of_moon.argmax(1);
    }
};

dtk::QuadratureNodes nodes(double noise) {
    const auto panels = static_cast<int>(std::ceil(std::numbers::pi / (2.5 * noise)));
    std::vector<double> edges;
    for (int i = 0; i <= panels; ++i) edges.push_back(std::numbers::pi * i / panels);
    return dtk::gauss_legendre(edges);
}

struct Moons final : dtk::Dataset {
    struct Config {
        double noise = 0.1;
        bool labels = false;
        void fields(dtk::Fields& f) {
            f("noise", noise, dtk::in(0.005, 1), "standard deviation, where the half circles have radius 1");
            f("labels", labels, "label each example with its moon");
        }
    } cfg;

    Moons(const Config& config, const dtk::BuildContext& context)
        : cfg(config), random_(context.random("dataset")), density_(nodes(config.noise), config.noise) {}

    std::vector<std::int64_t> shape() const override { return {2}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return drawn(random_.stream("train").samples(index), index.numel());
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return drawn(random_.stream("test").samples(index), index.numel());
    }
    std::int64_t classes() const override { return cfg.labels ? 2 : 0; }
    const dtk::Density* density() const override { return &density_; }

 private:
    dtk::Batch drawn(const dtk::Random& random, std::int64_t n) const {
        const auto moon = random.integers(2, {n});
        const auto phi = std::numbers::pi * random.uniform({n}, at::kDouble);
        const auto curve = at::where(moon.unsqueeze(1) == 0, moon0(phi), moon1(phi));
        const auto raw = curve + cfg.noise * random.normal({n, 2}, at::kDouble);
        return {density_.standardised(raw).to(at::kFloat), cfg.labels ? moon : Tensor()};
    }

    dtk::Random random_;
    TwoMoons density_;
};

}  // namespace

DTK_PLUGIN(Dataset, moons, Moons, "two interleaved half circles, whose density and best denoiser are known")
