#pragma once
// What losses share that learn from a trained network: the teacher, and its probability flow.
#include <dtk/build_context.hpp>
#include <dtk/denoiser.hpp>

namespace dtk {

/// The network that the field `teacher` names. Errors: Error where it classifies.
DTK_API TrainedNetwork teacher(const BuildContext& context, const Reference& reference);
/// Errors: Error where a network was trained under other noise levels than the process has.
DTK_API void must_share_noise(const TrainedNetwork& network, const Process& process);

/// One step of the probability flow, x_s = α_s x̂_0 + σ_s ε̂ (DDIM, Song, Meng & Ermon 2020); of a straight flow Euler's.
DTK_API Tensor flow_step(const Denoiser& denoise, const Tensor& x, const Time& t, const Time& s);

/// The same times, or `first` where they are before it.
DTK_API Time not_before(double first, const Time& t);
/// The first time at or after t on the grid of n equal strides from T−1 down to −1.
DTK_API Time on_grid(const Time& t, std::int64_t steps, std::int64_t n);
/// Errors: Error where a process of whole steps has no such grid.
DTK_API void must_divide(const Process& process, std::int64_t n);

}  // namespace dtk
