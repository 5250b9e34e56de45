#pragma once
#include "base/progress.hpp"
#include "engine/stage.hpp"
#include "engine/trajectory.hpp"

namespace dtk {

/// Samples, and the x_T that each came from.
struct Drawn {
    Tensor samples, start;  ///< [n, ...] on the CPU
    double evaluations;     ///< of the network for each row; rows that only fill a portion up are not charged to others
};

/// The classes that are asked of the network row by row in turn, int64: those that [sample] names, or all that have
/// examples; undefined where there are none.
DTK_API Tensor classes_in_turn(const Stage& stage, const SampleSettings& settings);

/// Those classes of rows first … first + n − 1; undefined where there are none.
DTK_API Tensor labels_asked(const Stage& stage, const SampleSettings& settings, std::int64_t first, std::int64_t n);

/// The texts that are asked of the network, of rows first … first + n − 1: the prompts of [sample] in turn, or the
/// captions of as many test examples; empty where there is no tokenizer. Errors: Error where there are neither.
DTK_API std::vector<std::string> captions_asked(const Stage& stage, const SampleSettings& settings, std::int64_t first,
                                                std::int64_t n);

/// Some of the samples, in their order, and the x_T that each came from: [rows, ...] on the CPU, contiguous or not.
using TakeSamples = std::function<void(const Tensor& samples, const Tensor& start)>;

/// n samples of the stage's sampler, handed over as they come → network evaluations for each row. Row k depends on the
/// seed and on k, not on how the rows are portioned: every portion has the same size (what the last one holds too much
/// is cut), so the network always sees the same shape. `kept` is given the states that [sample]
/// trajectory asks for. Errors: Interrupted where somebody asks to stop.
DTK_API double draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device,
                            Progress::Mode progress, const TakeSamples& take, KeptTrajectory* kept = nullptr);

/// All of them at once.
DTK_API Drawn draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device,
                           Progress::Mode progress);

}  // namespace dtk
