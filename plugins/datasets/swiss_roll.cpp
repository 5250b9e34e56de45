// θ = π(1.5 + 3u), u ~ U(0, 1);  x = (θ cos θ, θ sin θ) + noise·z, z ~ N(0, I), then centred and divided by one number
// so that the mean variance of the two axes is 1. The data of Sohl-Dickstein et al., "Deep Unsupervised Learning using
// Nonequilibrium Thermodynamics", 2015, fig. 1, with a generator of our own, since theirs is not published.
#include <cmath>
#include <dtk/build_context.hpp>
#include <dtk/densities.hpp>
#include <numbers>

namespace {

using at::Tensor;

constexpr double from = 1.5 * std::numbers::pi, to = 4.5 * std::numbers::pi;

Tensor spiral(const Tensor& theta) { return at::stack({theta * theta.cos(), theta * theta.sin()}, 1); }

/// Panels of nearly equal length along the curve, about θ dθ, of 2.5 noise each.
dtk::QuadratureNodes nodes(double noise) {
    const auto panels = static_cast<int>(std::ceil((to * to - from * from) / 2 / (2.5 * noise)));
    std::vector<double> edges;
    for (int i = 0; i <= panels; ++i) edges.push_back(std::sqrt(from * from + (to * to - from * from) * i / panels));
    return dtk::gauss_legendre(edges);
}

struct SwissRoll final : dtk::Dataset {
    struct Config {
        double noise = 0.5;
        void fields(dtk::Fields& f) {
            f("noise", noise, dtk::in(0.02, 5), "standard deviation, where the turns are 2π apart");
        }
    };

    SwissRoll(const Config& config, const dtk::BuildContext& context)
        : noise_(config.noise), random_(context.random("dataset")) {
        const auto [theta, weight] = nodes(noise_);
        density_ = std::make_unique<dtk::SmearedCurve>(spiral(theta), weight / (to - from), noise_);
    }

    std::vector<std::int64_t> shape() const override { return {2}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return drawn(random_.stream("train").samples(index), index.numel());
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return drawn(random_.stream("test").samples(index), index.numel());
    }
    const dtk::Density* density() const override { return density_.get(); }

 private:
    dtk::Batch drawn(const dtk::Random& random, std::int64_t n) const {
        const auto theta = from + (to - from) * random.uniform({n}, at::kDouble);
        const auto raw = spiral(theta) + noise_ * random.normal({n, 2}, at::kDouble);
        return {density_->standardised(raw).to(at::kFloat), Tensor()};
    }

    double noise_;
    dtk::Random random_;
    std::unique_ptr<dtk::SmearedCurve> density_;
};

}  // namespace

DTK_PLUGIN(Dataset, swiss_roll, SwissRoll, "a noisy spiral in the plane, whose density and best denoiser are known")
