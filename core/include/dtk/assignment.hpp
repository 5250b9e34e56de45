#pragma once
// Which of n goes with which of n others, so that all pairs together cost least?
#include <cstdint>
#include <vector>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// The π that makes Σ_i cost[i, π(i)] least, exactly: shortest augmenting paths, O(n³) (Jonker & Volgenant 1987). cost:
/// [n, n] float64 on the CPU, finite
DTK_API std::vector<std::int64_t> cheapest_pairs(const Tensor& cost);

/// e^{(u_i + v_j − cost_ij)/ε} with rows that sum to 1/n and columns that do so better with every iteration (Cuturi
/// 2013), where cost is. cost: [n, n] float64
DTK_API Tensor sinkhorn_plan(const Tensor& cost, const Tensor& epsilon, std::int64_t iterations);

}  // namespace dtk
