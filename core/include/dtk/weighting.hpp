#pragma once
// How much does the error at a noise level count? Weightings λ(t). No tensor.
#include <string_view>

#include <dtk/plugin.hpp>
#include <dtk/schedule.hpp>

#define DTK_Weighting_VERSION 2_0

namespace dtk {

class DTK_API Weighting {
 public:
    static constexpr const char* kind = "weighting";
    virtual ~Weighting();
    /// λ ≥ 0 for the squared error of what is compared, ε, x_0, v, …, at that noise level. per_x0: how large that error
    /// is for an error of 1 in x_0, ‖Δε‖² = SNR·‖Δx_0‖² and so on, so that a weighting of x_0's error divides by it.
    virtual double weight(const NoiseLevel& level, double per_x0) const = 0;
};

/// ‖Δ‖² of a type of prediction ("eps", "v", …) for ‖Δx_0‖² = 1 at time t. data_sd: for "edm". Errors: Error for a type
/// whose error is not one of x_0.
DTK_API double error_per_x0(const NoiseLevels& levels, double t, std::string_view type, double data_sd);

}  // namespace dtk
