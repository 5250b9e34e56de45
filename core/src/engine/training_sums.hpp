#pragma once
// What training sums on the device between two lines of metrics.
#include <dtk/loss.hpp>
#include <dtk/optimizer.hpp>

namespace dtk {

class TrainingSums {
 public:
    static constexpr std::int64_t noise_bins = 10;

    explicit TrainingSums(at::Device device);
    void clear();
    /// `error`: what the loss answered, before weighting; `value`: what is minimised. Both [B]; share: 1/batch.
    void add(const Tensor& error, const Tensor& value, const Time& t, const LossValues& values, double share,
             std::int64_t process_steps);
    void end_step(const Tensor& norm, const Tensor& finite, std::int64_t step);
    std::int64_t steps() const { return steps_; }
    /// 1 from the first step on that was not finite, else 0: a float32 scalar on the device.
    Tensor skip() const { return (first_bad_ >= 0).to(at::kFloat); }

    /// Waits for the device: the first step that was not finite, −1 where there is none.
    std::int64_t first_bad() const { return first_bad_.item<std::int64_t>(); }
    /// Means over the steps since the last `clear`, and the mean error in each tenth of the times.
    std::vector<std::pair<std::string, double>> means() const;
    std::vector<double> error_by_noise() const;

    /// So that a resumed training says the same numbers.
    NamedTensors state() const;
    void restore(const NamedTensors& state);

 private:
    at::Device device_;
    Tensor loss_, norm_, bin_error_, bin_count_, first_bad_;
    std::vector<std::pair<std::string, Tensor>> parts_;
    std::int64_t steps_ = 0;
};

}  // namespace dtk
