#pragma once
// What samplers of Karras et al. 2022 share: noise that is added before a step, so that its errors are forgotten.
#include <cstdint>
#include <utility>

#include <dtk/denoiser.hpp>
#include <dtk/fields.hpp>

namespace dtk {

/// Before the network is asked, x_t is brought from σ_t/α_t to σ̂ = (1 + γ)·σ_t/α_t by fresh noise, γ =
/// min(S_churn/n, √2 − 1) while S_min ≤ σ_t/α_t ≤ S_max (Karras et al. 2022, algorithm 2, lines 4–6).
struct DTK_API Churn {
    double s_churn = 0, s_min = 0, s_max = 1e300, s_noise = 1;
    void fields(Fields& f);
    /// x at time t, step i of n → x̂ and its time t̂ ≥ t, at most the last one of the process.
    std::pair<Tensor, double> operator()(const Denoiser& denoise, const Tensor& x, double t, std::int64_t n,
                                         const Random& random) const;
};

}  // namespace dtk
