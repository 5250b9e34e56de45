// f(u) = cos²(π/2 · (u + s)/(1 + s)),   β_t = min(1 − f(t/T) / f((t−1)/T), β_max),   t = 1 … T
// Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, eq. 17.
#include <cmath>
#include <numbers>

#include <dtk/schedule.hpp>

namespace {
struct Cosine final : dtk::BetaSchedule {
    struct Config {
        double s = 0.008, beta_max = 0.999;
        void fields(dtk::Fields& f) {
            f("s", s, dtk::in(0, 0.5), "offset that keeps the first steps from vanishing");
            f("beta_max", beta_max, dtk::down_from(0, 1), "cap on β near t = T");
        }
    } c;
    explicit Cosine(const Config& config) : c(config) {}

    double f(double u) const { return std::pow(std::cos(std::numbers::pi / 2 * (u + c.s) / (1 + c.s)), 2); }

    std::vector<double> betas(std::int64_t steps) const override {
        const auto T = static_cast<double>(steps);
        std::vector<double> beta(steps);
        for (std::int64_t i = 0; i < steps; ++i) beta[i] = std::min(1 - f((i + 1) / T) / f(i / T), c.beta_max);
        return beta;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, cosine, Cosine,
           "ᾱ falls like a squared cosine (Nichol & Dhariwal 2021); elsewhere: squaredcos_cap_v2, squared_cosine")
