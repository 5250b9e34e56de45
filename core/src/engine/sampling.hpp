#pragma once
#include "base/progress.hpp"
#include "engine/stage.hpp"

namespace dtk {

/// Samples, and the x_T that each came from.
struct Drawn {
    Tensor samples, start;  ///< [n, ...] on the CPU
    double evaluations;     ///< of the network for each row; rows that only fill a portion up are not charged to others
};

/// n samples of the stage's sampler. Row k depends on the seed and on k, not on how the rows are portioned:
/// every portion has the same size (what the last one holds too much is cut), so the network always sees the same
/// shape.
DTK_API Drawn draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device,
                           Progress::Mode progress);

}  // namespace dtk
