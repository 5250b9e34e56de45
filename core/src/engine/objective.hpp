#pragma once
// What training minimises at each noise level: the loss of one time under [weighting] and [times].
#include "engine/stage.hpp"

namespace dtk {

/// The values that are minimised: times λ(t), and the weight that makes up for how t was drawn.
DTK_API Tensor weighted(const Stage& stage, const Objective& objective, const SampledTimes& drawn);

/// A stage's objective as a density over log-SNR, which does not depend on how its schedule runs through the noise.
/// Errors: Error where the loss is not one error at one drawn time, or takes no notice of what the network answers.
class DTK_API ObjectiveByNoise {
 public:
    /// The stage must outlive it.
    explicit ObjectiveByNoise(const Stage& stage);
    const NoiseLevels& levels() const { return stage_.process().levels(); }
    /// What is minimised for each unit of log-SNR where x̂_0 is off by `off` in every element, over what the squared
    /// error of ε is there: the effective weight, which does not depend on `off` where the loss is a squared error.
    /// 0 where no times are. log_snr: [n] → [n] float64
    Tensor weight(const Tensor& log_snr, double off = 1) const;
    /// What is minimised for each unit of log-SNR, example by example, where x̂_0 is off by a function of x_t and of the
    /// noise: two configurations that are one objective answer the same numbers. log_snr: [n], one for each of the
    /// first n examples → [n] float64
    Tensor losses(const Tensor& log_snr) const;
    /// The least and the greatest log-SNR that is drawn, −30 … 30: of the process's steps, or of all times where they
    /// have a density.
    std::pair<double, double> range() const;

 private:
    Tensor minimised(const Tensor& log_snr, const std::function<Tensor(const Tensor& x, const Time& t)>& off) const;
    const Stage& stage_;
};

}  // namespace dtk
