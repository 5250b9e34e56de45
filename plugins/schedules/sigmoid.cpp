// ᾱ(u) = (S(e) − S(s + u·(e − s))) / (S(e) − S(s)),   S(z) = 1/(1 + e^{−z/τ}),   β_t = min(1 − ᾱ(t/T)/ᾱ((t−1)/T),
// β_max) Jabri, Fleet & Chen, "Scalable Adaptive Computation for Iterative Generation", 2022; form of Chen 2023,
// algorithm 1.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Sigmoid final : dtk::BetaSchedule {
    struct Config {
        double start = -3, end = 3, tau = 1, beta_max = 0.999;
        void fields(dtk::Fields& f) {
            f("start", start, dtk::in(-20, 20), "argument of the sigmoid at the clean end");
            f("end", end, dtk::in(-20, 20), "argument of the sigmoid at the noisy end");
            f("tau", tau, dtk::in(0.05, 20), "temperature: larger is straighter");
            f("beta_max", beta_max, dtk::down_from(0, 1), "cap on β near t = T");
        }
    } c;
    explicit Sigmoid(const Config& config) : c(config) {
        if (!(c.start < c.end)) throw dtk::Error("`start` must be smaller than `end`", "swap them");
    }

    double S(double z) const { return 1 / (1 + std::exp(-z / c.tau)); }
    double alpha_bar(double u) const {
        return (S(c.end) - S(c.start + u * (c.end - c.start))) / (S(c.end) - S(c.start));
    }

    std::vector<double> betas(std::int64_t steps) const override {
        const auto T = static_cast<double>(steps);
        std::vector<double> beta(steps);
        for (std::int64_t i = 0; i < steps; ++i)
            beta[i] = std::min(1 - alpha_bar((i + 1) / T) / alpha_bar(i / T), c.beta_max);
        return beta;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, sigmoid, Sigmoid, "ᾱ falls like a sigmoid (Jabri et al. 2022)")
