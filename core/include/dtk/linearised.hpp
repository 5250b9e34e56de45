#pragma once
// What guidance and samplers share that stand on an observation y = A(x_0) + sd·z: A and A(x̂_0) with their derivatives,
// and equations as large as y. Rows are independent of each other.
#include <cstdint>
#include <functional>

#include <dtk/denoiser.hpp>
#include <dtk/observation.hpp>

namespace dtk {

/// A and its derivative A' at x_0.
class DTK_API Linearised {
 public:
    Linearised(const Observation& seen, const Tensor& x0);
    const Tensor& value() const { return value_; }  ///< A(x_0), [B, m]
    Tensor times(const Tensor& w) const;            ///< A' w. w: as x_0 → [B, m]
    Tensor transposed(const Tensor& v) const;       ///< A'ᵀ v. v: [B, m] → as x_0

 private:
    const Observation* seen_;
    Tensor x0_, value_;
};

/// x̂_0 at x_t, how far y is from A(x̂_0), and how A(x̂_0) moves with x_t: derivatives go through the network.
struct DTK_API ObservedEstimate {
    Prediction prediction;  ///< x̂_0, with the variance that the network has learned
    Tensor residual;        ///< y − A(x̂_0), [B, m]
    Linearised A;           ///< at x̂_0
    Tensor x, measured;     ///< x_t and A(x̂_0), joined by the graph of their gradients
    /// (∂A(x̂_0)/∂x_t)ᵀ v. v: [B, m] → as x
    Tensor back(const Tensor& v) const;
};
DTK_API ObservedEstimate observed_estimate(const Denoiser& denoise, const Observation& seen, const Tensor& x,
                                           const Time& t, const Condition& condition);

/// Answers v of score + (∂A(x̂_0)/∂x_t)ᵀ v, [B, m]. Where α_t = 0 it is told 1 and its answer does not count.
using Pull = std::function<Tensor(const ObservedEstimate& at, const Coefficient& alpha, const Coefficient& sigma)>;
/// The denoiser with its score moved so, x̂_0 ← x̂_0 + σ_t²/α_t (∂A(x̂_0)/∂x_t)ᵀ v. Where α_t = 0, x_t says nothing of y
/// and x̂_0 stays. The observation must outlive the answer.
DTK_API Denoiser pulled(const Denoiser& denoise, const Observation& seen, Pull pull);

/// u with S u = b of every row. S is symmetric and not negative; `times` applies it to [B, m]. Up to m = 8 exactly,
/// else by so many steps of conjugate gradients, which stop early in rows that are solved.
DTK_API Tensor solved(const std::function<Tensor(const Tensor&)>& times, const Tensor& b, std::int64_t iterations);

}  // namespace dtk
