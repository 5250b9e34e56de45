#pragma once
// What training sums on the device between two lines of metrics.
#include <dtk/loss.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/times.hpp>

namespace dtk {

class DTK_API TrainingSums {
 public:
    static constexpr std::int64_t noise_bins = 10;

    explicit TrainingSums(at::Device device);
    void clear();
    /// What is to be added up of a part of a batch. `error`: what the loss answered, before weighting; `value`: what is
    /// minimised. Both [B]; share: 1/batch. → [N] float64
    Tensor of_part(const Tensor& error, const Tensor& value, const SampledTimes& drawn, const LossValues& values,
                   double share, std::int64_t process_steps);
    /// The sum of that over the parts of a batch.
    void add(const Tensor& numbers) { sum_ = sum_ + numbers; }
    void end_step(const Tensor& norm, const Tensor& finite, std::int64_t step);
    std::int64_t steps() const { return steps_; }
    /// 1 from the first step on that was not finite, else 0: a float32 scalar on the device.
    Tensor skip() const { return (first_bad_ >= 0).to(at::kFloat); }

    /// Waits for the device: the first step that was not finite, −1 where there is none.
    std::int64_t first_bad() const { return first_bad_.item<std::int64_t>(); }
    /// Means over the steps since the last `clear`, and the mean error in each tenth of the times, which counts by the
    /// weight of its time: drawn more often somewhere, times are no better or worse there.
    std::vector<std::pair<std::string, double>> means() const;
    std::vector<double> error_by_noise() const;

    /// So that a resumed training says the same numbers.
    NamedTensors state() const;
    void restore(const NamedTensors& state);

 private:
    Tensor loss() const { return sum_.select(0, 0); }
    Tensor bin_error() const { return sum_.slice(0, 1, 1 + noise_bins); }
    Tensor bin_count() const { return sum_.slice(0, 1 + noise_bins, 1 + 2 * noise_bins); }
    Tensor part(std::size_t i) const { return sum_.select(0, 1 + 2 * noise_bins + static_cast<std::int64_t>(i)); }

    at::Device device_;
    Tensor sum_;  ///< of the loss, of weighted errors and of weights by noise, of the loss's further values
    Tensor norm_, first_bad_;
    std::vector<std::string> parts_;  ///< the names of those
    std::int64_t steps_ = 0;
};

}  // namespace dtk
