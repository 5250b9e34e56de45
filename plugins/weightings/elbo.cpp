// λ·‖Δ‖² = −½ dSNR/du·‖Δx_0‖²: the bound on −log p in continuous time.
// Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, eq. 17. Between steps of a table it is the slope
// of the table.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/process.hpp>
#include <dtk/weighting.hpp>

namespace {
struct Elbo final : dtk::Weighting {
    explicit Elbo(const dtk::BuildContext& context) : process_(context.process()) {}
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        const auto& levels = process_.levels();
        const auto [alpha_rate, sigma_rate] = levels.rates(levels.time(level.log_snr));
        const auto [alpha, sigma, log_snr] = level;
        const double fall = 2 * alpha * (sigma_rate * alpha - alpha_rate * sigma) / std::pow(sigma, 3);  // −dSNR/du
        return 0.5 * fall / per_x0;
    }

 private:
    const dtk::Process& process_;
};
}  // namespace

DTK_PLUGIN(Weighting, elbo, Elbo, "the weight of the variational bound in continuous time (Kingma et al. 2021)")
