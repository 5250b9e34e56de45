#pragma once
// Steps of the probability flow dx̃/dσ̃ = ε̂(x, t) in x̃ = x/α and σ̃ = σ/α that several samplers share.
#include <algorithm>
#include <cmath>
#include <string>

#include <dtk/denoiser.hpp>
#include <dtk/schedule.hpp>

namespace dtk {

/// Refuses a process that knows only its whole steps, on behalf of a sampler that asks between them.
inline void needs_times_between(const Process& process, const std::string& who) {
    if (process.whole_steps())
        throw Error(who + " asks the network between the times of its grid, and this process knows whole steps alone",
                    "use a schedule that is not learned, or a sampler that stays on its grid, such as euler");
}

/// Heun's method from t to s: the slopes at both ends count alike. Euler's in the last step, and where x̃_t is infinite.
inline Tensor heun_step(const Denoiser& denoise, Tensor x, double t, double s) {
    const auto& noise = denoise.noise();
    const auto [x0, eps] = denoise.estimate(x, t);
    const double alpha = noise.alpha(s);
    x = alpha * x0 + noise.sigma(s) * eps;
    if (s <= -1 || noise.alpha(t) == 0) return x;
    return x + (alpha * (noise.ratio(s) - noise.ratio(t)) / 2) * (denoise.eps(x, s) - eps);
}

/// x̃ at σ̃ = ratio, by the slope at the geometric mean of σ̃_t and that; Euler's where one of the two is 0 or infinite.
inline Tensor midpoint_step(const Denoiser& denoise, const Tensor& x, double t, double ratio) {
    const auto& noise = denoise.noise();
    const auto [x0, eps] = denoise.estimate(x, t);
    const double from = noise.ratio(t), middle = std::sqrt(from * ratio);
    if (!(middle > 0) || std::isinf(middle)) return x0 + ratio * eps;  // ∞ · 0 among them
    const double m = noise.time_of_ratio(middle);
    return x0 + ratio * eps + (ratio - from) * (denoise.eps(noise.alpha(m) * (x0 + noise.ratio(m) * eps), m) - eps);
}

/// A step to σ̃_s in two: without noise to `down`, then by noise of standard deviation `up` to σ̃_s = √(down² + up²).
/// up = min(σ̃_s, η √(σ̃_s² (σ̃_t² − σ̃_s²)/σ̃_t²))
struct AncestralStep {
    double down, up;
};
inline AncestralStep ancestral_step(const NoiseLevels& noise, double t, double s, double eta) {
    const double to = noise.ratio(s), part = std::isinf(noise.ratio(t)) ? 0 : to / noise.ratio(t);
    const double share = eta * std::sqrt((1 - part) * (1 + part));
    if (share >= 1) return {0, to};
    return {to * std::sqrt((1 - eta) * (1 + eta) + eta * eta * part * part), to * share};
}

}  // namespace dtk
