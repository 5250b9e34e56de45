#pragma once
// Training: batches, times, objectives, optimiser and averages, put together.
#include <functional>
#include <limits>
#include <memory>

#include <dtk/optimizer.hpp>
#include <dtk/rate.hpp>

#include "base/progress.hpp"
#include "engine/averages.hpp"
#include "engine/checkpoint.hpp"
#include "engine/reduction.hpp"
#include "engine/training_sums.hpp"

namespace dtk {

using NamedNumbers = std::vector<std::pair<std::string, double>>;
using NamedLists = std::vector<std::pair<std::string, std::vector<double>>>;

/// What the trainer tells while it runs.
struct TrainingLog {
    /// One line of metrics: named numbers, and named lists of them, such as the mean error in each tenth of the times,
    /// from the least noisy; NaN where none was drawn.
    std::function<void(std::int64_t step, const NamedNumbers& values, const NamedLists& lists)> metrics;
    std::function<void(const Checkpoint& checkpoint)> save;
    /// Copies of the averages by a power of the time are due.
    std::function<void(std::int64_t step, const std::vector<PowerAverage>& averages)> snapshot = {};
    /// A picture of samples is due; the first average, if any, stands in the plugins.
    std::function<void(std::int64_t step)> sample;
    /// Has somebody asked to stop?
    std::function<bool()> stop;
    /// The least held-out error there was before; each smaller one is saved.
    double least_error = std::numeric_limits<double>::infinity();
};

/// Who looks at a step is told of each part of its batch: before it is computed; and of each example its time, the
/// loss's plain error and what is minimised, [B].
struct StepLook {
    std::function<void(const Batch& batch)> begins;
    std::function<void(const Batch& batch, const Time& t, const Tensor& error, const Tensor& loss)> computed;
};

/// The learning rate of the step of that number, from 0.
double learning_rate(const TrainSettings& settings, const Rate& law, std::int64_t step);

/// Fits the stage's trained tensors. A number is read back from the device once per logging interval, no more.
class DTK_API Trainer {
 public:
    /// `processes`: those that train together; null for this one alone. Then all make the same calls, and only the one
    /// that leads is asked to log, to save, to draw and to validate; if it is killed, process 1 saves. Errors:
    /// UserError where the batch cannot be divided among them.
    Trainer(Stage& stage, at::Device device, Processes* processes = nullptr);
    /// Goes on from there. Errors: UserError naming what the checkpoint lacks.
    void restore(const Checkpoint& checkpoint);
    /// Errors: Error at the first loss or gradient that is not finite, with the step and the last good checkpoint kept;
    /// Interrupted after a checkpoint when asked to stop.
    void run(const std::string& experiment, Progress::Mode progress, const TrainingLog& log);
    /// Makes steps until so many are made, without a log; `each` is called after every one.
    void advance(std::int64_t step, const std::function<void()>& each = {});
    /// Computes loss and gradients of the next step, which is not made; `sums` are then of it alone.
    void look(const StepLook& look);
    const TrainingSums& sums() const { return sums_; }
    std::int64_t step() const { return step_; }
    Averages& averages() { return averages_; }
    double seconds_of_validation() const { return validation_seconds_; }

 private:
    Checkpoint snapshot(const std::string& experiment) const;
    double rate(std::int64_t step) const { return learning_rate(settings_, *stage_.part<Rate>(), step); }
    void one_step(class BatchQueue& batches);
    /// Gradients of the next step → is everything finite? A scalar bool on the device.
    Tensor compute_gradients(BatchQueue& batches, const StepLook& look);
    /// Of one part of its batch → numbers that are added up over all of them: is it not finite, who asks to stop, and
    /// what is logged.
    Tensor part_of_step(Batch batch, const Random& random, const StepLook& look);
    /// Has any process been asked to stop? All learn it at the same step.
    void agree_to_stop(const Tensor& numbers);
    bool leads() const { return !processes_ || processes_->leads(); }
    /// Another process has ended: what has been trained is kept.
    void save_what_is_there(const std::string& experiment, std::int64_t saved, const TrainingLog& log);
    void update(const Tensor& finite);
    void tell_times();
    /// Adds what held-out examples give, with the parameters and with their first average → the error of what is
    /// sampled.
    double validate(const class Validation& validation, NamedNumbers& values, NamedLists& lists);
    void refuse_bad(std::int64_t bad) const;

    Stage& stage_;
    const TrainSettings& settings_;
    at::Device device_;
    Processes* processes_;
    BatchParts parts_;
    Parameters parameters_;
    Reduction reduction_;
    std::shared_ptr<Optimizer> optimizer_;
    Averages averages_;
    TrainingSums sums_;
    std::int64_t step_ = 0;
    double validation_seconds_ = 0;
    bool stopping_ = false;
    std::vector<Tensor> seen_;     ///< of the step's parts: times and plain errors, [2, B] float64 on the device
    std::vector<Tensor> pending_;  ///< of whole batches, that the time sampler has not been told of
};

/// The numbers of the training examples at a step: all of them once before any comes again.
Tensor example_numbers(const Dataset& data, std::uint64_t seed, std::int64_t step, std::int64_t batch);

}  // namespace dtk
