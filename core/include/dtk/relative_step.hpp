#pragma once
#include <dtk/process.hpp>

namespace dtk {

/// p(x_{t−1} | x_t) = N(√(1−β_t)·x_t + √β_t·mean, sigmoid(logit β_t + logit)), a step as the change of the forward
/// kernel turned around, which it is where both are 0: the read-out of Sohl-Dickstein et al. 2015, in the form of their
/// code. Differentiable in β where the schedule is learned. mean, logit: as xt
DTK_API Prediction relative_step(const GaussianProcess& process, const Tensor& xt, const Time& t, const Tensor& mean,
                                 const Tensor& logit);

}  // namespace dtk
