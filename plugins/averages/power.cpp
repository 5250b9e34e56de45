// keep(k) = (1 − 1/(k + 1))^{γ+1}: the average ∝ ∫ t^γ θ(t) dt, whose width as a share of the training, σ_rel, stays
// the same as training goes on:  σ_rel² = (γ + 1)/((γ + 2)² (γ + 3)) Karras et al., "Analyzing and Improving the
// Training Dynamics of Diffusion Models" (EDM2), 2024, section 3.1.
#include <cmath>

#include <dtk/optimizer.hpp>
#include <dtk/power_average.hpp>

namespace {
struct Power final : dtk::Average {
    struct Config {
        double width = 0.05;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::inside(0, 0.288),
              "σ_rel, standard deviation of the profile as a share of the training");
        }
    };
    explicit Power(const Config& config) : gamma_(dtk::power_of_width(config.width)) {}
    double keep(std::int64_t step) const override {
        return std::pow(1 - 1 / (static_cast<double>(step) + 1), gamma_ + 1);
    }
    std::optional<double> power() const override { return gamma_; }

 private:
    double gamma_;
};
}  // namespace

DTK_PLUGIN(Average, power, Power,
           "average by a power of the time, of the same relative width always (EDM2, Karras et al. 2024)")
