#pragma once
// Networks that learn the variance of the reverse step.
#include <string>

#include <dtk/process.hpp>

namespace dtk {

/// How a network's second output says the variance Σ of p(x_{t−1} | x_t): "range": log Σ = f·log β + (1 − f)·log β̃ with
/// f = (v + 1)/2 (Nichol & Dhariwal 2021, eq. 15), "direct": log Σ = v, "fixed": there is none. β̃ is 0 at the first
/// step and is that of the next one there.
class DTK_API LearnedVariance {
 public:
    /// Errors: Error where the variance is learned and the process is not Gaussian or has but one step.
    LearnedVariance(const std::string& how, const Process& process);
    /// How often a network answers as many numbers as x_t has.
    std::int64_t outputs() const { return how_ == How::fixed ? 1 : 2; }
    /// output: [B, outputs()·C, ...] of a network asked with x: [B, C, ...]
    Prediction operator()(PredictionType type, const Tensor& output, const Tensor& x, const Time& t) const;

 private:
    enum class How { fixed, range, direct } how_;
    const GaussianProcess* process_ = nullptr;
};

}  // namespace dtk
