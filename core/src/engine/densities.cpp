#include <boost/math/quadrature/gauss.hpp>
#include <cmath>
#include <dtk/densities.hpp>
#include <numbers>

namespace dtk {
namespace {
constexpr double log_2pi = 1.8378770664093454836;
}  // namespace

QuadratureNodes gauss_legendre(const std::vector<double>& edges) {
    using Rule = boost::math::quadrature::gauss<double, 10>;
    std::vector<double> at, weight;
    for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
        const double middle = (edges[i] + edges[i + 1]) / 2, half = (edges[i + 1] - edges[i]) / 2;
        for (std::size_t j = 0; j < Rule::abscissa().size(); ++j)
            for (const double sign : {-1.0, 1.0}) {
                at.push_back(middle + sign * half * Rule::abscissa()[j]);
                weight.push_back(half * Rule::weights()[j]);
            }
    }
    return {at::tensor(at, at::kDouble), at::tensor(weight, at::kDouble)};
}

LogProbMoments moments_on_lattice(const std::function<Tensor(const Tensor& x, const Tensor& y)>& density, double reach,
                                  double step) {
    at::NoGradGuard no_grad;
    const auto side = static_cast<std::int64_t>(std::ceil(reach / step));
    const auto lattice = at::arange(-side, side + 1, at::kDouble) * step;
    const auto sums = in_portions(
        lattice.size(0), numbers_at_once(lattice) / lattice.size(0), [&](std::int64_t first, std::int64_t last) {
            const auto p = density(lattice.slice(0, first, last), lattice);
            const auto log_p = p.clamp_min(1e-300).log();
            return at::stack({p.sum(), (p * log_p).sum(), (p * log_p.square()).sum()}).unsqueeze(0);
        });
    const auto total = sums.sum(0);
    const double mass = total[0].item<double>(), mean = total[1].item<double>() / mass;
    return {-mean, std::sqrt(std::max(total[2].item<double>() / mass - mean * mean, 0.0))};
}

SmearedCurve::SmearedCurve(const Tensor& points, const Tensor& weights, double noise) {
    const auto w = weights.unsqueeze(1);
    mean_ = (w * points).sum(0);
    const double variance = (w * (points - mean_).square()).sum().item<double>() / 2 + noise * noise;
    scale_ = std::sqrt(variance);
    s_ = noise / scale_;
    points_ = (points - mean_) / scale_;
    log_weights_ = weights.log();
}

ClassDensities::~ClassDensities() = default;

SmearedCurve::~SmearedCurve() = default;

Tensor SmearedCurve::standardised(const Tensor& raw) const { return (raw - mean_) / scale_; }

Tensor SmearedCurve::log_terms(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
    const auto c = points_.to(x.device(), true);
    const auto a = alpha.unsqueeze(1);
    const auto variance = (a * s_).square() + sigma.unsqueeze(1).square();
    const auto distance2 = (x.select(1, 0).unsqueeze(1) - a * c.select(1, 0)).square() +
                           (x.select(1, 1).unsqueeze(1) - a * c.select(1, 1)).square();
    return log_weights_.to(x.device(), true) - distance2 / (2 * variance) - variance.log() - log_2pi;
}

Tensor SmearedCurve::log_prob(const Tensor& x) const {
    const auto one = at::ones({x.size(0)}, x.options().dtype(at::kDouble)), zero = at::zeros_like(one);
    const auto rows = x.to(at::kDouble);
    return in_portions(x.size(0), numbers_at_once(x) / points_.size(0),
                       [&](std::int64_t first, std::int64_t last) {
                           const auto part = rows.slice(0, first, last);
                           return log_terms(part, one.slice(0, first, last), zero.slice(0, first, last)).logsumexp(1);
                       })
        .to(x.scalar_type());
}

// Given node k, E[x_0 | x] = c_k + α s²/(α² s² + σ²)·(x − α c_k); averaged over the posterior of k.
Tensor SmearedCurve::posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
    const auto rows = x.to(at::kDouble), a = alpha.to(x.device(), at::kDouble), b = sigma.to(x.device(), at::kDouble);
    const auto c = points_.to(x.device(), true);
    return in_portions(x.size(0), numbers_at_once(x) / points_.size(0),
                       [&](std::int64_t first, std::int64_t last) {
                           const auto xs = rows.slice(0, first, last), as = a.slice(0, first, last),
                                      bs = b.slice(0, first, last);
                           const auto curve = log_terms(xs, as, bs).softmax(1).matmul(c);
                           const auto gain = as * s_ * s_ / ((as * s_).square() + bs.square());
                           return curve + gain.unsqueeze(1) * (xs - as.unsqueeze(1) * curve);
                       })
        .to(x.scalar_type());
}

// With v = α² s² + σ² that is σ²/v·c_k and what all nodes share, so Var[x_0 | x] = s² σ²/v + (σ²/v)² Var[c_k | x].
Tensor SmearedCurve::posterior_variance(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
    const auto rows = x.to(at::kDouble), a = alpha.to(x.device(), at::kDouble), b = sigma.to(x.device(), at::kDouble);
    const auto c = points_.to(x.device(), true);
    return in_portions(x.size(0), numbers_at_once(x) / (2 * points_.size(0)),
                       [&](std::int64_t first, std::int64_t last) {
                           const auto as = a.slice(0, first, last), bs = b.slice(0, first, last);
                           const auto r = log_terms(rows.slice(0, first, last), as, bs).softmax(1);
                           const auto away = c - r.matmul(c).unsqueeze(1);
                           const auto spread = (r.unsqueeze(2) * away.square()).sum(1);
                           const auto kept = (bs.square() / ((as * s_).square() + bs.square())).unsqueeze(1);
                           return kept * (s_ * s_ + kept * spread);
                       })
        .to(x.scalar_type());
}

// A Gaussian is a product of its axes, so the mixture on a lattice is one matrix product.
const LogProbMoments& SmearedCurve::moments() const {
    std::call_once(once_, [&] {
        const auto scaled = log_weights_.exp() / (2 * std::numbers::pi * s_ * s_);
        const auto along = [&](const Tensor& x, int axis) {
            return (-(x.unsqueeze(1) - points_.select(1, axis)).square() / (2 * s_ * s_)).exp();
        };
        const double reach = points_.abs().max().item<double>() + 10 * s_;
        Tensor of_y;
        moments_ = moments_on_lattice(
            [&](const Tensor& x, const Tensor& y) {
                if (!of_y.defined()) of_y = along(y, 1).t().contiguous();
                return (along(x, 0) * scaled).matmul(of_y);
            },
            reach, s_ / 3);
    });
    return moments_;
}

}  // namespace dtk
