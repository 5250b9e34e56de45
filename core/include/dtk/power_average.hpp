#pragma once
// Averages of the parameters by a power of the time, and others of that family made of some of them afterwards. Karras
// et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2), 2024, section 3 and appendix C.
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// The γ of the profile ∝ t^γ on [0, 1] whose standard deviation is `width`: width² = (γ + 1)/((γ + 2)² (γ + 3)).
/// Errors: Error unless 0 < width < 1/√12, where γ is 0.
DTK_API double power_of_width(double width);

/// p(t) = (γ + 1) t^γ/end^{γ+1} on [0, end]: how much of the parameters at time t an average has at time `end`.
struct PowerProfile {
    double power;  ///< γ
    double end;
};

/// The x that make ∫ (Σ x_i p_i − p)² dt the least. Errors: Error where two of the profiles are the same.
DTK_API std::vector<double> nearest_combination(const std::vector<PowerProfile>& of, const PowerProfile& wanted);

/// √∫ (Σ x_i p_i − p)² dt / √∫ p² dt
DTK_API double relative_distance(const std::vector<PowerProfile>& of, const std::vector<double>& x,
                                 const PowerProfile& wanted);

}  // namespace dtk
