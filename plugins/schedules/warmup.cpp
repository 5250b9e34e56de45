// β_i rises linearly from β_start to β_end over the first ⌊f·T⌋ steps, and stays there.
// The "warmup10" and "warmup50" schedules of the code of Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models",
// 2020.
#include <algorithm>
#include <cmath>

#include <dtk/schedule.hpp>

namespace {
struct Warmup final : dtk::BetaSchedule {
    struct Config {
        double beta_start = 1e-4, beta_end = 0.02, share = 0.1;
        bool rescale = true;
        void fields(dtk::Fields& f) {
            f("beta_start", beta_start, dtk::inside(0, 1), "β of the first step, at T = 1000");
            f("beta_end", beta_end, dtk::inside(0, 1), "β after the rise, at T = 1000");
            f("share", share, dtk::in(0, 1), "f, the share of the steps that β rises over");
            f("rescale", rescale, "multiply β by 1000/T, so that ᾱ_T hardly depends on T");
        }
    } c;
    explicit Warmup(const Config& config) : c(config) {}

    std::vector<double> betas(std::int64_t steps) const override {
        const double scale = c.rescale ? 1000.0 / static_cast<double>(steps) : 1;
        const auto rising = static_cast<std::int64_t>(std::floor(c.share * static_cast<double>(steps)));
        std::vector<double> beta(static_cast<std::size_t>(steps), scale * c.beta_end);
        for (std::int64_t i = 0; i < rising; ++i) {
            const double u = rising > 1 ? static_cast<double>(i) / static_cast<double>(rising - 1) : 0;
            beta[static_cast<std::size_t>(i)] = scale * (c.beta_start + (c.beta_end - c.beta_start) * u);
        }
        return beta;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, warmup, Warmup,
           "β rises linearly over a share of the steps, then stays (Ho et al. 2020, in their code); elsewhere: "
           "warmup10, warmup50")
