// p(R) = Σ_k w_k f(angle of M_kᵀR; σ_k),  f that of IGSO(3), with respect to Haar's measure. Noise of σ adds its
// variance to each:
//   ∇ log p_σ(R) = Σ_k r_k ∇ log f(M_kᵀR; √(σ_k² + σ²)),   r_k the posterior of component k
#include <cmath>
#include <mutex>
#include <numbers>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/densities.hpp>
#include <dtk/rotations.hpp>

namespace {

using at::Tensor;

class Mixture final : public dtk::RotationDensity {
 public:
    /// weights, sigma: [K], modes: [K, 3, 3], float64
    Mixture(const Tensor& weights, Tensor modes, Tensor sigma)
        : log_weights_(weights.log()), modes_(std::move(modes)), sigma_(std::move(sigma)) {}

    Tensor log_prob(const Tensor& x) const override { return log_joint(x).logsumexp(1).to(x.scalar_type()); }

    Tensor score(const Tensor& x, const Tensor& sigma) const override {
        const auto v = from_modes(x);
        const auto angle = v.norm(2, -1);
        const auto total = (sigma_.to(x.device(), true).square() + sigma.unsqueeze(1).square()).sqrt();
        const auto r = (log_weights_.to(x.device(), true) + dtk::igso3_log_density(angle, total)).softmax(1);
        return ((r * dtk::igso3_slope(angle, total)).unsqueeze(2) * v).sum(1);
    }

    Tensor posterior_mean(const Tensor&, const Tensor&, const Tensor&) const override {
        throw dtk::Error(
            "what is known of a mixture of rotations is its score under noise of rotations, not its mean under "
            "Gaussian noise",
            "use process `so3`");
    }

    double entropy() const override { return averages().entropy; }
    double log_prob_sd() const override { return averages().sd; }
    /// How probable it is that an example is nearest, as nearest_mode says, to each component.
    std::vector<double> mode_weights() const override { return averages().assigned; }
    /// The component that most probably made x.
    Tensor nearest_mode(const Tensor& x) const override { return log_joint(x).argmax(1); }

 private:
    struct Averages {
        double entropy, sd;
        std::vector<double> assigned;
    };

    /// Rotation vectors from each mode to x: [n, 9] or [n, 3, 3] → [n, K, 3]
    Tensor from_modes(const Tensor& x) const {
        const auto R = x.to(at::kDouble).view({-1, 1, 3, 3});
        return dtk::rotation_vector(modes_.to(x.device(), true).transpose(1, 2).matmul(R));
    }

    /// log w_k f_k: [n, K]
    Tensor log_joint(const Tensor& x) const {
        return log_weights_.to(x.device(), true) +
               dtk::igso3_log_density(from_modes(x).norm(2, -1), sigma_.to(x.device(), true));
    }

    /// Angle by Gauss–Legendre, axis by Gauss–Legendre in its height and evenly spaced around.
    const Averages& averages() const {
        std::call_once(once_, [&] {
            at::NoGradGuard no_grad;
            constexpr std::int64_t around = 24;
            const auto height = dtk::gauss_legendre({-1, 0, 1});
            const auto turn = at::arange(around, at::kDouble) * (2 * std::numbers::pi / around);
            const auto radius = (1 - height.at.square()).sqrt().unsqueeze(1);
            const auto axes =
                at::stack({radius * turn.cos(), radius * turn.sin(), height.at.unsqueeze(1).expand({-1, around})}, 2)
                    .view({-1, 3});
            const auto of_axis = (height.weight / (2 * around)).unsqueeze(1).expand({-1, around}).flatten();
            double mean = 0, square = 0;
            auto assigned = at::zeros_like(log_weights_);
            for (std::int64_t k = 0; k < modes_.size(0); ++k) {
                const double reach = std::min(std::numbers::pi, 9 * sigma_[k].item<double>());
                std::vector<double> edges;
                for (int i = 0; i <= 6; ++i) edges.push_back(reach * i / 6);
                const auto angle = dtk::gauss_legendre(edges);
                const auto of_angle = angle.weight * dtk::igso3_log_density(angle.at, sigma_[k]).exp() *
                                      (angle.at / 2).sin().square() * (2 / std::numbers::pi);
                const auto x =
                    modes_[k].matmul(dtk::rotation((angle.at.unsqueeze(1).unsqueeze(2) * axes).view({-1, 3})));
                const auto weight = log_weights_[k].exp() * at::outer(of_angle, of_axis).flatten();
                const auto joint = log_joint(x), log_p = joint.logsumexp(1);
                mean += (weight * log_p).sum().item<double>();
                square += (weight * log_p.square()).sum().item<double>();
                assigned.index_add_(0, joint.argmax(1), weight);
            }
            assigned /= assigned.sum();
            averages_ = {-mean,
                         std::sqrt(std::max(square - mean * mean, 0.0)),
                         {assigned.const_data_ptr<double>(), assigned.const_data_ptr<double>() + assigned.numel()}};
        });
        return averages_;
    }

    Tensor log_weights_, modes_, sigma_;
    mutable std::once_flag once_;
    mutable Averages averages_;
};

struct RotationMixture final : dtk::Dataset {
    struct Config {
        std::vector<double> weights{0.5, 0.3, 0.2}, sigma{0.15, 0.25, 0.2};
        std::vector<dtk::Row> modes{{0, 0, 0.5}, {2, 0.6, 0}, {-0.8, 1.5, 1.2}};
        bool labels = false;
        void fields(dtk::Fields& f) {
            f("weights", weights, dtk::above(0), "of the modes, with sum 1; empty: all equal");
            f("modes", modes, dtk::any_number(),
              "one row of 3 numbers per mode: the axis of its rotation times the angle in radians");
            f("sigma", sigma, dtk::in(1e-3, 10), "spread of each mode in radians, or one for all");
            f("labels", labels, "label each example with its mode");
        }
    };
    RotationMixture(const Config& config, const dtk::BuildContext& context)
        : labels_(config.labels), random_(context.random("dataset")) {
        const auto k = static_cast<std::int64_t>(config.modes.size());
        if (k == 0) throw dtk::Error("`modes` is empty", "give one row per mode, as in modes = [[0, 0, 0], [0, 0, 2]]");
        std::vector<Tensor> vectors;
        for (const auto& row : config.modes) {
            if (row.size() != 3)
                throw dtk::Error(fmt::format("row {} of `modes` has {} numbers, not 3", vectors.size() + 1, row.size()),
                                 "give the axis times the angle, as in [0, 0, 1.57]");
            vectors.push_back(at::tensor(row, at::kDouble));
        }
        modes_ = dtk::rotation(at::stack(vectors));
        sigma_ = at::tensor(config.sigma, at::kDouble);
        if (sigma_.size(0) != 1 && sigma_.size(0) != k)
            throw dtk::Error(fmt::format("{} `sigma` for {} `modes`", sigma_.size(0), k),
                             "give one per mode, or a single one for all");
        sigma_ = sigma_.expand({k}).contiguous();
        auto weights = config.weights.empty() ? at::full({k}, 1.0 / static_cast<double>(k), at::kDouble)
                                              : at::tensor(config.weights, at::kDouble);
        if (weights.size(0) != k)
            throw dtk::Error(fmt::format("{} `weights` for {} `modes`", weights.size(0), k),
                             "give one weight per row of `modes`");
        const double sum = weights.sum().item<double>();
        if (std::abs(sum - 1) > 1e-6)
            throw dtk::Error(fmt::format("the `weights` sum to {}, not to 1", sum), "divide each by that sum");
        weights = weights / sum;
        share_ = weights.cumsum(0);
        cumulative_ = dtk::igso3_cumulative(sigma_);
        density_ = std::make_unique<Mixture>(weights, modes_, sigma_);
    }

    std::vector<std::int64_t> shape() const override { return {3, 3}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return drawn(random_.stream("train").samples(index), index.numel());
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return drawn(random_.stream("test").samples(index), index.numel());
    }
    std::int64_t classes() const override { return labels_ ? modes_.size(0) : 0; }
    const dtk::Density* density() const override { return density_.get(); }

 private:
    dtk::Batch drawn(const dtk::Random& random, std::int64_t n) const {
        const auto k =
            at::searchsorted(share_, random.uniform({n}, at::kDouble), false, true).clamp_max(modes_.size(0) - 1);
        const auto v = dtk::igso3_draw(random, 1, sigma_.index_select(0, k), cumulative_.index_select(0, k)).squeeze(1);
        return {modes_.index_select(0, k).bmm(dtk::rotation(v)).to(at::kFloat), labels_ ? k : Tensor()};
    }

    bool labels_;
    dtk::Random random_;
    Tensor modes_, sigma_, share_, cumulative_;
    std::unique_ptr<Mixture> density_;
};
}  // namespace

DTK_PLUGIN(Dataset, rotation_mixture, RotationMixture, "a mixture of rotations whose density is known")
