#pragma once
// Reverse steps with less noise, or more, than the process's own: what makes samples of a chain better and less
// diverse.
#include <dtk/process.hpp>

namespace dtk {

/// A process that is not Gaussian and draws its reverse steps with their noise multiplied by a number; with 1 it is
/// `reverse_step`.
class DTK_API ScaledNoise {
 public:
    virtual ~ScaledNoise();
    virtual Tensor scaled_step(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                               const std::string& variance, const Random& random, double noise_scale) const = 0;
};

}  // namespace dtk
