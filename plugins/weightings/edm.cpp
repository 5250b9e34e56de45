// λ·‖Δ‖² = (σ̃² + σ_d²)/(σ̃ σ_d)²·‖Δx_0‖², σ̃ = σ/α: the error of F of prediction = "edm" counts alike at every noise
// level. Karras, Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022,
// table 1. σ_d is the process's `data_sd`.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/process.hpp>
#include <dtk/weighting.hpp>

namespace {
struct Edm final : dtk::Weighting {
    explicit Edm(const dtk::BuildContext& context) : process_(dtk::gaussian(context.process(), "weighting `edm`")) {}
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        const double sd = process_.data_sd();
        return (std::exp(level.log_snr) + 1 / (sd * sd)) / per_x0;
    }

 private:
    const dtk::GaussianProcess& process_;
};
}  // namespace

DTK_PLUGIN(Weighting, edm, Edm, "1/c_out², so that F's error counts alike at every noise level (Karras et al. 2022)")
