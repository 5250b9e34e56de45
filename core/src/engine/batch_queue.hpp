#pragma once
// The training examples in their order, made ahead of need.
#include "engine/prefetch.hpp"
#include "engine/reduction.hpp"
#include "engine/stage.hpp"

namespace dtk {

/// The parts of batches that this process computes, from step `first` on.
class BatchQueue {
 public:
    BatchQueue(const Stage& stage, at::Device device, std::int64_t first, const BatchParts& parts);
    /// The next part, on the device.
    Batch next();

 private:
    at::Device device_;
    std::shared_ptr<const Codec> codec_;  ///< of the latents; null where there is none
    Random random_;                       ///< that they are drawn with
    std::int64_t parts_, number_;         ///< of a step; of the next one, over all steps
    Prefetch prefetch_;
};

/// The numbers of a stage's training examples at a step, in its own order. Of data without end it meets others where
/// `data` of [seeds] is another seed than the experiment's.
Tensor example_numbers(const Stage& stage, std::int64_t step, std::int64_t batch);

}  // namespace dtk
