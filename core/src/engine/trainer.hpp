#pragma once
#include <functional>

#include "base/progress.hpp"
#include "engine/checkpoint.hpp"

namespace dtk {

/// What the trainer tells while it runs.
struct TrainingLog {
    /// One line of metrics: named numbers, and the mean loss in each tenth of the times, from the least noisy; NaN
    /// where none was drawn.
    std::function<void(std::int64_t step, const std::vector<std::pair<std::string, double>>& values,
                       const std::vector<double>& by_noise)>
        metrics;
    std::function<void(const Checkpoint& checkpoint)> save;
    /// A picture of samples is due; the averages, if any, stand in the plugins.
    std::function<void(std::int64_t step)> sample;
    /// Has somebody asked to stop?
    std::function<bool()> stop;
};

/// Fits the stage's trained tensors. A number is read back from the device once per logging interval, no more.
/// Errors: Error at the first loss or gradient that is not finite, with the step and the last good checkpoint kept;
/// Interrupted after a checkpoint when asked to stop.
DTK_API void train(Stage& stage, const std::string& experiment, const Checkpoint* from, at::Device device,
                   Progress::Mode progress, const TrainingLog& log);

/// The learning rate at step `step` (from 0).
double learning_rate(const TrainSettings& settings, std::int64_t step);

/// The numbers of the training examples at a step: all of them once before any comes again.
Tensor example_numbers(const Dataset& data, std::uint64_t seed, std::int64_t step, std::int64_t batch);

/// Puts the averages in the place of the tensors for as long as it lives.
class WithAverages {
 public:
    WithAverages(const std::vector<Tensor>& tensors, const std::vector<Tensor>& averages);
    ~WithAverages();

 private:
    void swap();
    std::vector<Tensor> tensors_, averages_;
};

}  // namespace dtk
