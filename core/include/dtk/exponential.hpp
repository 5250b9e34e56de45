#pragma once
// What exponential integrators of the probability flow share: the parts of a step that are known exactly. No tensor.
#include <cmath>

#include <dtk/schedule.hpp>

namespace dtk {

/// λ = log(α/σ), half of log-SNR: −∞ where α = 0, ∞ at t = −1.
inline double half_log_snr(const NoiseLevels& noise, double t) { return noise.log_snr(t) / 2; }

/// For x̂_0 = D that stays the same from t to s the flow is x_s = kept·x_t + gain·D exactly, with kept = σ_s/σ_t and
/// gain = α_s − α_t σ_s/σ_t = α_s (1 − e^{−h}), h = λ_s − λ_t. Defined at α_t = 0 and at s = −1 too.
struct DataStep {
    double kept, gain;
};
inline DataStep data_step(const NoiseLevels& noise, double t, double s) {
    const auto from = noise.at(t), to = noise.at(s);
    const double kept = to.sigma / from.sigma;
    return {kept, to.alpha * -std::expm1((from.log_snr - to.log_snr) / 2)};
}

/// For ε̂ = E that stays the same: x_s = kept·x_t + gain·E, kept = α_s/α_t and gain = σ_s − σ_t α_s/α_t. Needs α_t > 0.
struct NoiseStep {
    double kept, gain;
};
inline NoiseStep noise_step(const NoiseLevels& noise, double t, double s) {
    const auto from = noise.at(t), to = noise.at(s);
    const double kept = to.alpha / from.alpha;
    return {kept, to.sigma - from.sigma * kept};
}

}  // namespace dtk
