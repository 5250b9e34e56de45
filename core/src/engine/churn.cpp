// Noise added before a step.
#include <dtk/churn.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <dtk/schedule.hpp>

namespace dtk {

void Churn::fields(Fields& f) {
    f("s_churn", s_churn, at_least(0), "noise added over all steps together; 0: none, deterministic");
    f("s_min", s_min, at_least(0), "σ/α below which none is added");
    f("s_max", s_max, above(0), "σ/α above which none is added");
    f("s_noise", s_noise, above(0), "size of the noise; a little over 1 makes up for what networks take away");
}

std::pair<Tensor, double> Churn::operator()(const Denoiser& denoise, const Tensor& x, double t, std::int64_t n,
                                            const Random& random) const {
    const auto& noise = denoise.noise();
    const double ratio = noise.ratio(t);
    if (s_churn == 0 || !(ratio >= s_min && ratio <= s_max)) return {x, t};
    const double gamma = std::min(s_churn / static_cast<double>(n), std::numbers::sqrt2 - 1);
    const double raised = std::min(ratio * (1 + gamma), noise.ratio(noise.last()));
    if (!(raised > ratio)) return {x, t};
    const double later = noise.time_of_ratio(raised);
    const auto fresh = random.normal(x.sizes(), x.options()) * (s_noise * std::sqrt(raised * raised - ratio * ratio));
    return {noise.alpha(later) * (x / noise.alpha(t) + fresh), later};
}

}  // namespace dtk
