#pragma once
// What sampling starts from: noise that is drawn, read from a file, found for given examples, or between two noises;
// and given examples with some noise added.
#include <string>
#include <vector>

#include "engine/stage.hpp"

namespace dtk {

/// Refuses what [sample] says of where samples start where it does not fit the stage or does not go together. Errors:
/// Error with the cure.
void check_start(const SampleSettings& settings, const Stage& stage);

/// The sampler's times that samples pass: all of them or, where they start from examples with some noise, the last
/// ones.
std::vector<double> sampled_times(const Stage& stage, const SampleSettings& settings);

/// What every sample starts from, as [sample] says.
class SampleStart {
 public:
    /// times: as sampled_times. Errors: those of check_start.
    SampleStart(const Stage& stage, const SampleSettings& settings, std::vector<double> times);

    /// Rows first … first + rows − 1 of x_T; where there are fewer, the last one again. `denoise` is asked where
    /// examples are inverted.
    Tensor rows(std::int64_t first, std::int64_t rows, const at::TensorOptions& options, const Random& random,
                const Denoiser& denoise) const;

 private:
    Tensor ends(std::int64_t first, std::int64_t rows, const at::TensorOptions& options, const Random& random,
                const Denoiser& denoise) const;
    Tensor between(std::int64_t first, std::int64_t rows, const at::TensorOptions& options, const Random& random,
                   const Denoiser& denoise) const;

    const Process& process_;
    std::vector<std::int64_t> shape_;
    std::vector<double> times_;
    std::int64_t n_, interpolate_;
    bool quantiles_, invert_, renoise_;
    Tensor given_;  ///< of the file; examples as the chain has them
};

/// The x at times.front() that the deterministic DDIM steps along `times` bring to x0 (Song et al. 2020, section 4.3).
/// Each step solves x_s = α_s x̂_0(x_t) + σ_s ε̂(x_t) for x_t, from the step that asks at x_s. Errors:
/// Error where there is no way back, because the first time has no signal and is also the last.
DTK_API Tensor inverted(const Denoiser& denoise, const std::vector<double>& times, Tensor x0);

/// Between two noises along the great circle, which keeps the length that noise has: share 0 is a, 1 is b. a, b: [B,
/// ...], share: [B]
DTK_API Tensor spherical(const Tensor& a, const Tensor& b, const Tensor& share);

}  // namespace dtk
