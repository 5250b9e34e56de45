// p(x) = Σ_k w_k N(x; μ_k, C_k).  With x_t = α x_0 + σ ε, C_k = Q Λ Qᵀ, y = Qᵀ(x_t − α μ_k) and v = α²λ + σ²:
//   log q_t(x_t)  = log Σ_k w_k Π_j N(y_j; 0, v_j)
//   E[x_0 | x_t] = Σ_k r_k m_k,   m_k = μ_k + Q (α λ/v · y),   r_k the posterior of component k
//   Var[x_0 | x_t] = Σ_k r_k (Q² (σ² λ/v) + (m_k − E[x_0 | x_t])²),   element by element
// No difference of nearly equal numbers in it, so it holds from σ = 0 to α = 0. Given y = A x + sd·z it is a mixture
// again: with S_k = A C_k Aᵀ + sd² I and G_k = C_k Aᵀ S_k⁻¹,
//   w_k ∝ w_k N(y; A μ_k, S_k),   μ_k + G_k (y − A μ_k),   C_k − G_k A C_k
// whose weights and means depend on y, row by row, and its covariances do not. With sd = 0 these have the rank d − m.
#include <dtk/normal_mixture.hpp>

#include <cmath>
#include <mutex>
#include <numbers>

#include <dtk/error.hpp>

namespace dtk {

namespace {

constexpr double log_2pi = 1.8378770664093454836;

class Mixture final : public Density, public ClassDensities {
 public:
    /// weights: [K], means: [K, d], covariances: [K, d, d], float64
    Mixture(const Tensor& weights, const Tensor& means, const Tensor& covariances)
        : log_weights_(weights.log().unsqueeze(1)), means_(means.unsqueeze(1)) {
        std::tie(lambda_, axes_) = at::linalg_eigh(covariances);
    }

    Tensor log_prob(const Tensor& x) const override {
        const auto one = at::ones({x.size(0)}, x.options().dtype(at::kDouble)), zero = at::zeros_like(one);
        return by_rows(x, one, zero, [](const Mixture& of, const Tensor& x, const Tensor& alpha, const Tensor& sigma) {
            return of.terms(x, alpha, sigma).log_joint.logsumexp(0);
        });
    }

    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        return by_rows(x, alpha, sigma, [](const Mixture& of, const Tensor& x, const Tensor& a, const Tensor& s) {
            return of.denoised(x, a, s);
        });
    }

    Tensor posterior_variance(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        return by_rows(x, alpha, sigma, [](const Mixture& of, const Tensor& x, const Tensor& a, const Tensor& s) {
            return of.spread(x, a, s);
        });
    }

    std::shared_ptr<Density> given(const Tensor& A, const Tensor& y, double sd) const override {
        if (of_rows()) throw Error("a law that is given y already is not asked what else it is given");
        const auto m = A.size(0);
        const auto all = y.to(at::kDouble);
        const auto covariances = axes_.matmul(lambda_.unsqueeze(2) * axes_.transpose(1, 2));
        const auto seen = A.matmul(covariances);  // [K, m, d]
        const auto factor = at::linalg_cholesky(seen.matmul(A.t()) + sd * sd * at::eye(m, at::kDouble));
        const auto gain = at::cholesky_solve(seen, factor);  // G_kᵀ
        const auto inverse = at::linalg_solve_triangular(factor, at::eye(m, at::kDouble).expand_as(factor), false);

        const auto to = [&](const Tensor& constant) { return constant.to(all.device(), /*non_blocking=*/true); };
        const auto off = all - to(means_.matmul(A.t()));  // [K, n, m]
        const auto log_weights = to(log_weights_ - factor.diagonal(0, 1, 2).log().sum(1, true)) -
                                 0.5 * off.matmul(to(inverse.transpose(1, 2))).square().sum(2);
        Mixture posterior(at::ones({components()}, at::kDouble), means_.squeeze(1),
                          covariances - gain.transpose(1, 2).matmul(seen));
        posterior.log_weights_ = log_weights - log_weights.logsumexp(0, true);
        posterior.means_ = to(means_) + off.matmul(to(gain));
        // Of rank d − m, but for rounding.
        if (sd == 0) posterior.lambda_.slice(1, 0, m).zero_();
        posterior.lambda_.clamp_min_(0);
        posterior.singular_ = sd == 0;
        return std::make_shared<Mixture>(posterior);
    }

    /// A component by itself.
    std::shared_ptr<const Density> of_class(std::int64_t label) const override {
        auto one = *this;
        one.log_weights_ = at::zeros_like(log_weights_.slice(0, label, label + 1));
        one.means_ = means_.slice(0, label, label + 1);
        one.lambda_ = lambda_.slice(0, label, label + 1);
        one.axes_ = axes_.slice(0, label, label + 1);
        one.lazy_ = std::make_shared<Lazy>();
        return std::make_shared<Mixture>(one);
    }

    double entropy() const override { return averages().entropy; }
    double log_prob_sd() const override { return averages().sd; }
    /// How probable it is that an example is nearest, as nearest_mode says, to each component. Where components overlap
    /// that is not quite its weight.
    std::vector<double> mode_weights() const override { return averages().assigned; }

    /// The component that most probably made x.
    Tensor nearest_mode(const Tensor& x) const override {
        const auto one = at::ones({x.size(0)}, x.options().dtype(at::kDouble));
        return terms(x.to(at::kDouble), one, at::zeros_like(one)).log_joint.argmax(0);
    }

 private:
    struct Terms {
        Tensor log_joint;  // [K, n] log of w_k N(x; α μ_k, α² C_k + σ² I)
        Tensor y, v;       // [K, n, d]
    };
    struct Averages {
        double entropy, sd;
        std::vector<double> assigned;
    };
    struct Lazy {
        std::once_flag once;
        Averages averages;
    };

    /// Is it a law of its own for every row?
    bool of_rows() const { return means_.size(1) > 1; }
    /// The laws of some rows.
    Mixture some_rows(std::int64_t first, std::int64_t last) const {
        if (!of_rows()) return *this;
        auto some = *this;
        some.log_weights_ = log_weights_.slice(1, first, last);
        some.means_ = means_.slice(1, first, last);
        return some;
    }
    /// what(law, x, alpha, sigma) of float64 rows, in portions.
    template <class What>
    Tensor by_rows(const Tensor& x, const Tensor& alpha, const Tensor& sigma, const What& what) const {
        const auto all = x.to(at::kDouble), a = alpha.to(x.device(), at::kDouble),
                   b = sigma.to(x.device(), at::kDouble);
        return in_portions(x.size(0), portion(x),
                           [&](std::int64_t first, std::int64_t last) {
                               return what(some_rows(first, last), all.slice(0, first, last), a.slice(0, first, last),
                                           b.slice(0, first, last));
                           })
            .to(x.scalar_type());
    }

    std::int64_t components() const { return means_.size(0); }
    std::int64_t dimensions() const { return means_.size(2); }
    std::int64_t portion(const Tensor& x) const {
        return std::max<std::int64_t>(numbers_at_once(x) / (components() * dimensions()), 1);
    }

    Terms terms(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        const auto to = [&](const Tensor& constant) { return constant.to(x.device(), true); };
        const auto a = alpha.unsqueeze(1);
        const auto y = (x - a * to(means_)).bmm(to(axes_));
        auto v = a.square() * to(lambda_).unsqueeze(1) + sigma.unsqueeze(1).square();
        if (!singular_) return {to(log_weights_) - 0.5 * (y.square() / v + v.log() + log_2pi).sum(2), y, v};
        // Directions that have no spread do not count.
        const auto spread = v > 0;
        v = at::where(spread, v, 1);
        return {to(log_weights_) - 0.5 * (spread * (y.square() / v + v.log() + log_2pi)).sum(2), y, v};
    }

    /// The posterior of each component, r: [K, n, 1], its mean and the variances along its axes: [K, n, d].
    struct Posterior {
        Tensor r, m, variance;
    };
    Posterior posterior(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        const auto [log_joint, y, v] = terms(x, alpha, sigma);
        const auto lambda = lambda_.to(x.device(), true).unsqueeze(1);
        const auto shrunk = (alpha.unsqueeze(1) * lambda / v * y).bmm(axes_.to(x.device(), true).transpose(1, 2));
        return {log_joint.softmax(0).unsqueeze(2), means_.to(x.device(), true) + shrunk,
                sigma.unsqueeze(1).square() * lambda / v};
    }

    Tensor denoised(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        const auto of = posterior(x, alpha, sigma);
        return (of.r * of.m).sum(0);
    }

    Tensor spread(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        const auto of = posterior(x, alpha, sigma);
        const auto away = of.m - (of.r * of.m).sum(0);
        const auto within = of.variance.bmm(axes_.to(x.device(), true).square().transpose(1, 2));
        return (of.r * (within + away.square())).sum(0);
    }

    /// Points z and weights that stand for N(0, I). In one and two dimensions the trapezoidal rule over |z| ≤ 8, finer
    /// for few components: entropy and sd to 1e-10 unless one component lies inside another ten times as wide, the
    /// probability of being assigned to 1e-4. In more dimensions 2^18/K fixed random points: 0.002.
    QuadratureNodes standard_normal(std::int64_t component) const {
        const auto d = dimensions();
        if (d > 2) {
            const auto n = std::max<std::int64_t>((std::int64_t{1} << 18) / components(), 1024);
            const auto z = Random(0, "gaussian_mixture").step(component).normal({n, d}, at::kDouble);
            return {z, at::full({n}, 1.0 / static_cast<double>(n), at::kDouble)};
        }
        const auto side = d == 1 ? 10'000 : std::clamp<std::int64_t>(320 / components(), 54, 108);
        const double step = 8.0 / static_cast<double>(side);
        const auto z = at::arange(-side, side + 1, at::kDouble) * step;
        const auto weight = (-z.square() / 2).exp() * (step / std::sqrt(2 * std::numbers::pi));
        if (d == 1) return {z.unsqueeze(1), weight};
        const auto grid = at::meshgrid({z, z}, "ij");
        const auto inside = (grid[0].square() + grid[1].square() <= 64).flatten();
        const auto points = at::stack({grid[0].flatten(), grid[1].flatten()}, 1);
        return {points.index({inside}), at::outer(weight, weight).flatten().index({inside})};
    }

    const Averages& averages() const {
        if (of_rows()) throw Error("a law for each row has no one entropy");
        std::call_once(lazy_->once, [&] {
            if (components() == 1 && !singular_) {
                const auto d = static_cast<double>(dimensions());
                lazy_->averages = {
                    0.5 * (d * (log_2pi + 1) + lambda_.log().sum().item<double>()), std::sqrt(d / 2), {1}};
                return;
            }
            at::NoGradGuard no_grad;
            double mean = 0, square = 0;
            auto assigned = at::zeros({components()}, at::kDouble);
            for (std::int64_t k = 0; k < components(); ++k) {
                const auto [z, weight] = standard_normal(k);
                const auto x = means_[k] + (z * lambda_[k].sqrt()).matmul(axes_[k].t());
                const auto w = weight * log_weights_[k].exp();
                for (std::int64_t first = 0; first < x.size(0); first += portion(x)) {
                    const auto rows = x.slice(0, first, first + portion(x)),
                               of_row = w.slice(0, first, first + portion(x));
                    const auto one = at::ones({rows.size(0)}, at::kDouble);
                    const auto log_joint = terms(rows, one, at::zeros_like(one)).log_joint;
                    const auto log_p = log_joint.logsumexp(0);
                    mean += (of_row * log_p).sum().item<double>();
                    square += (of_row * log_p.square()).sum().item<double>();
                    assigned.index_add_(0, log_joint.argmax(0), of_row);
                }
            }
            assigned /= assigned.sum();
            lazy_->averages = {-mean,
                               std::sqrt(std::max(square - mean * mean, 0.0)),
                               {assigned.const_data_ptr<double>(), assigned.const_data_ptr<double>() + components()}};
        });
        return lazy_->averages;
    }

    Tensor log_weights_, means_;  ///< [K, R] and [K, R, d], R = 1 where all rows have one law
    Tensor lambda_, axes_;        ///< [K, d] and [K, d, d]: variances and axes of the components
    bool singular_ = false;       ///< have some directions no spread?
    std::shared_ptr<Lazy> lazy_ = std::make_shared<Lazy>();
};

}  // namespace

std::shared_ptr<Density> normal_mixture(const Tensor& weights, const Tensor& means, const Tensor& covariances) {
    return std::make_shared<Mixture>(weights, means, covariances);
}

}  // namespace dtk
