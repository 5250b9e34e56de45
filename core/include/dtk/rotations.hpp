#pragma once
// Rotations, and the isotropic Gaussian IGSO(3) on them: Brownian motion from the identity at time σ². Everything is
// float64. A rotation is its matrix R: continuous, without the two signs of a quaternion or the seam of a rotation
// vector, so that a network can read it and write it. A tangent at R is the rotation vector v of R·Exp(v), in the frame
// of R.
#include <dtk/dataset.hpp>
#include <dtk/process.hpp>

namespace dtk {

/// The antisymmetric matrix of w ↦ v × w: [..., 3] → [..., 3, 3]
DTK_API Tensor hat(const Tensor& v);
/// The vector of the antisymmetric part: [..., 3, 3] → [..., 3]
DTK_API Tensor vee(const Tensor& matrix);
/// Exp: a rotation vector, axis times angle, → its matrix. [..., 3] → [..., 3, 3]
DTK_API Tensor rotation(const Tensor& v);
/// Log: the rotation vector with an angle in 0 … π; right to rounding near both ends. Scaling R changes nothing.
/// [..., 3, 3] → [..., 3]
DTK_API Tensor rotation_vector(const Tensor& R);
/// Haar's measure: sizes [B, ..., 3, 3]
DTK_API Tensor uniform_rotations(const Random& random, at::IntArrayRef sizes, at::Device device);

/// log f(ω) of IGSO(3) with respect to Haar's measure, where the uniform law has f = 1. The angle ω in 0 … π and σ > 0
/// broadcast.
DTK_API Tensor igso3_log_density(const Tensor& angle, const Tensor& sigma);
/// (1/ω) ∂ log f/∂ω. Times the rotation vector it is the score ∇ log f.
DTK_API Tensor igso3_slope(const Tensor& angle, const Tensor& sigma);
/// The distribution function of the angle at equal steps from 0 to as far as a draw can come. [n] → [n, points]
DTK_API Tensor igso3_cumulative(const Tensor& sigma);
/// The angle that a share u of all draws stays below. u: [n, m], sigma: [n], cumulative: that of sigma → [n, m]
DTK_API Tensor igso3_quantile(const Tensor& u, const Tensor& sigma, const Tensor& cumulative);
/// What a draw is made from, whatever its σ: a unit axis and a share u of all angles. → [n, m, 4] float64
DTK_API Tensor igso3_variate(const Random& random, std::int64_t n, std::int64_t m, const at::TensorOptions& options);
/// The rotation vectors that those are with that σ. [n, m, 4] → [n, m, 3]
DTK_API Tensor igso3_vector(const Tensor& variate, const Tensor& sigma, const Tensor& cumulative);
/// Rotation vectors of draws, m of them with each σ. → [n, m, 3]
DTK_API Tensor igso3_draw(const Random& random, std::int64_t m, const Tensor& sigma, const Tensor& cumulative);
/// E |∇ log f|² of draws. [n] → [n]
DTK_API Tensor igso3_score_square(const Tensor& sigma);
/// KL(IGSO(3) ‖ uniform) in nats. [n] → [n]
DTK_API Tensor igso3_divergence(const Tensor& sigma);

/// A density of rotations with respect to Haar's measure, which stays known under noise.
class DTK_API RotationDensity : public Density {
 public:
    ~RotationDensity() override;
    /// ∇ log p of x_0·Exp(v), v from IGSO(3) with that σ ≥ 0. x: [n, 3, 3], sigma: [n] → tangents [n, 3]
    virtual Tensor score(const Tensor& x, const Tensor& sigma) const = 0;
};

/// A process of rotations, x_t = x_0·Exp(v) with v from IGSO(3). The state is [B, ..., 3, 3].
class DTK_API RotationProcess : public Process {
 public:
    ~RotationProcess() override;
    virtual Coefficient sigma(const Time& t) const = 0;
};

}  // namespace dtk
