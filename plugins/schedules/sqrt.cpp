// β_i = √(β_start + (β_end − β_start)·i/(T−1)), i = 0 … T−1
// The "sqrt" schedule of Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, in their
// code. Its β are large from the first step on; with the usual ends few steps leave no signal.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Sqrt final : dtk::BetaSchedule {
    struct Config {
        double beta_start = 1e-4, beta_end = 0.02;
        void fields(dtk::Fields& f) {
            f("beta_start", beta_start, dtk::inside(0, 1), "β² of the first step");
            f("beta_end", beta_end, dtk::inside(0, 1), "β² of the last step");
        }
    } c;
    explicit Sqrt(const Config& config) : c(config) {}

    std::vector<double> betas(std::int64_t steps) const override {
        std::vector<double> beta;
        for (std::int64_t i = 0; i < steps; ++i) {
            const double u = steps > 1 ? static_cast<double>(i) / static_cast<double>(steps - 1) : 0;
            beta.push_back(std::sqrt(c.beta_start + (c.beta_end - c.beta_start) * u));
        }
        return beta;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, sqrt, Sqrt, "β² rises linearly (Rombach et al. 2022, in their code)")
