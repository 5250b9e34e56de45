// β_i = β, the same at every step.
// The "const" schedule of the code of Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020.
#include <dtk/schedule.hpp>

namespace {
struct Constant final : dtk::BetaSchedule {
    struct Config {
        double beta = 0.02;
        bool rescale = true;
        void fields(dtk::Fields& f) {
            f("beta", beta, dtk::inside(0, 1), "β of every step, at T = 1000");
            f("rescale", rescale, "multiply β by 1000/T, so that ᾱ_T hardly depends on T");
        }
    } c;
    explicit Constant(const Config& config) : c(config) {}

    std::vector<double> betas(std::int64_t steps) const override {
        return std::vector<double>(static_cast<std::size_t>(steps),
                                   c.beta * (c.rescale ? 1000.0 / static_cast<double>(steps) : 1));
    }
};
}  // namespace

DTK_PLUGIN(Schedule, constant, Constant,
           "the same β at every step (Ho et al. 2020, in their code); elsewhere: const, exp")
