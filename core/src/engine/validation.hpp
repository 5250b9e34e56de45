#pragma once
// Training looked at by examples that it never sees: [validate].
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/stage.hpp"

namespace dtk {

/// What one set of weights gave.
struct HeldOut {
    double error = 0;  ///< the plain error of the loss, before weighting: the mean over the levels
    /// Its mean in each level, from the least noisy; NaN where the noise never is at that level; empty for a loss that
    /// draws no times.
    std::vector<double> by_level;
    std::vector<std::pair<std::string, double>> parts;  ///< means of what else the loss answers
};

/// A fixed set of pairs of example and time with a noise of each. Which they are depends on [validate], the data and
/// the number of steps alone: on no seed, batch of training or number of threads.
class DTK_API Validation {
 public:
    /// Of a stage that has [validate], its parts on that device. Errors: UserError where the loss has no error that
    /// means anything by itself, or levels do not fit the process.
    Validation(const Stage& stage, at::Device device);

    /// With the weights as they stand, none of training's randomness in it.
    HeldOut measure() const;
    /// The log-SNR in the middle of each level, from the least noisy.
    std::vector<double> log_snr() const;
    /// What is measured, in a line.
    std::string in_words() const;

 private:
    Batch examples(std::int64_t first, std::int64_t rows) const;
    /// The times of all pairs: [n] float64.
    Tensor times() const;
    /// The time that lies at a place between the least noise, 0, and the most, 1.
    double time_at(double place) const;
    /// Does the process's noise reach over that level?
    bool reached(std::int64_t level) const;
    struct Values {
        Tensor error;  ///< [rows] float64 on the CPU
        std::vector<std::pair<std::string, Tensor>> parts;
    };
    Values values(std::int64_t first, std::int64_t rows, const Tensor& times) const;

    const Stage& stage_;
    const ValidateSettings& settings_;
    at::Device device_;
    Random random_;
    std::shared_ptr<const Dataset> data_;
    std::int64_t there_;       ///< examples of that split; 0: without end
    Tensor numbers_, places_;  ///< of the pairs: the example's number [n] int64, and where its time lies [n] float64
    mutable std::vector<Batch> kept_;  ///< the examples, where they are not many
};

}  // namespace dtk
