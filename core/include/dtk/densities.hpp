#pragma once
// What data sets of known density share: quadrature, the law of a noisy curve, work in portions.
#include <algorithm>
#include <dtk/dataset.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace dtk {

/// Where a rule evaluates its integrand, and what each value counts. Both [n] float64.
struct QuadratureNodes {
    Tensor at;
    Tensor weight;
};
/// Ten-point Gauss–Legendre on each panel edges[i] … edges[i+1].
DTK_API QuadratureNodes gauss_legendre(const std::vector<double>& edges);

/// −E log p in nats, and the standard deviation of log p.
struct LogProbMoments {
    double entropy = 0;
    double sd = 0;
};
/// Those of a density on the square |x|, |y| ≤ reach, by the trapezoidal rule with that step. For a density that is
/// smooth and vanishes at the edge its error falls faster than any power of the step.
/// density: (x: [n], y: [m]) → [n, m], all float64
DTK_API LogProbMoments moments_on_lattice(const std::function<Tensor(const Tensor& x, const Tensor& y)>& density,
                                          double reach, double step);

/// How many float64 numbers to look at together on the device of x: half a MiB, which stays in the cache of a CPU, or
/// as much as keeps an accelerator busy.
inline std::int64_t numbers_at_once(const Tensor& x) { return std::int64_t{1} << (x.is_cpu() ? 16 : 24); }

/// work(first, last) for stretches of at most `portion` rows, joined along the first dimension; bounds memory.
template <class Work>
Tensor in_portions(std::int64_t rows, std::int64_t portion, const Work& work) {
    portion = std::max<std::int64_t>(portion, 1);
    if (rows <= portion) return work(0, rows);
    std::vector<Tensor> parts;
    for (std::int64_t first = 0; first < rows; first += portion)
        parts.push_back(work(first, std::min(first + portion, rows)));
    return at::cat(parts);
}

/// A density that also knows the laws of the classes that its data come in.
class DTK_API ClassDensities {
 public:
    virtual ~ClassDensities();
    /// The law of the examples of that class, 0 … classes−1.
    virtual std::shared_ptr<const Density> of_class(std::int64_t label) const = 0;
};

/// A curve in the plane plus N(0, noise²·I), centred, then divided by one number that makes the mean variance of the
/// two axes 1. The curve is given by quadrature nodes, so its law is a mixture Σ_k w_k N(x; c_k, s²·I) to rounding.
class DTK_API SmearedCurve : public Density {
 public:
    /// points: [K, 2], weights: [K], which sum to 1; float64, in the curve's own coordinates, at most noise/2 apart.
    SmearedCurve(const Tensor& points, const Tensor& weights, double noise);
    ~SmearedCurve() override;

    /// From the curve's own coordinates to those of the law. raw: [n, 2] float64
    Tensor standardised(const Tensor& raw) const;
    double scale() const { return scale_; }  ///< what it divides by

    Tensor log_prob(const Tensor& x) const override;
    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override;
    Tensor posterior_variance(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override;
    double entropy() const override { return moments().entropy; }
    double log_prob_sd() const override { return moments().sd; }

 protected:
    /// log w_k N(x; α·c_k, (α²s² + σ²)·I): the posterior of the node, up to a constant of the row.
    /// x: [n, 2], alpha, sigma: [n], float64 → [n, K]
    Tensor log_terms(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const;

 private:
    const LogProbMoments& moments() const;

    Tensor mean_, points_, log_weights_;
    double scale_, s_;
    mutable std::once_flag once_;
    mutable LogProbMoments moments_;
};

}  // namespace dtk
