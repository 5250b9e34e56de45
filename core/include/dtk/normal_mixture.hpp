#pragma once
// A mixture of normal laws of any covariance: its density, its best denoiser, and what it is given a part of it.
#include <memory>

#include <dtk/densities.hpp>

namespace dtk {

/// Σ_k w_k N(x; μ_k, C_k), which also knows the law of each component (ClassDensities) and of x given A x. weights:
/// [K], means: [K, d], covariances: [K, d, d], float64 on the CPU.
DTK_API std::shared_ptr<Density> normal_mixture(const Tensor& weights, const Tensor& means, const Tensor& covariances);

}  // namespace dtk
