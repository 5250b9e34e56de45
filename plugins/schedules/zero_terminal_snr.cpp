// √ᾱ'_t = (√ᾱ_t − √ᾱ_T)·√ᾱ_1/(√ᾱ_1 − √ᾱ_T): another schedule, stretched so that nothing of x_0 is left at the last step
// while the first one stays as it was. Needs a network that predicts v or x_0.
// Lin, Liu, Li & Yang, "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2023, algorithm 1.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/schedule.hpp>

namespace {
struct ZeroTerminalSnr final : dtk::Schedule {
    struct Config {
        dtk::Part<dtk::Schedule> of{"linear"};
        void fields(dtk::Fields& f) { f("of", of, "the schedule that is stretched, a variance-preserving one"); }
    };
    ZeroTerminalSnr(const Config& config, const dtk::BuildContext& context) : of_(config.of.make(context)) {}

    dtk::NoiseLevels levels(std::int64_t steps) const override {
        const auto levels = of_->levels(steps);
        if (!levels.is_variance_preserving())
            throw dtk::Error("zero_terminal_snr needs a schedule with α² + σ² = 1", "use one such as linear or cosine");
        if (steps < 2) throw dtk::Error("zero_terminal_snr needs two steps or more", "raise `steps` of the process");
        const double first = levels.alpha(0), last = levels.alpha(levels.last());
        std::vector<dtk::NoiseLevel> table;
        for (std::int64_t t = 0; t < steps; ++t) {
            const double alpha =
                t + 1 == steps ? 0 : (levels.alpha(static_cast<double>(t)) - last) * first / (first - last);
            table.push_back(dtk::noise_level(alpha, std::sqrt((1 - alpha) * (1 + alpha))));
        }
        return dtk::NoiseLevels::from_table(table);
    }

 private:
    std::shared_ptr<dtk::Schedule> of_;
};
}  // namespace

DTK_PLUGIN(Schedule, zero_terminal_snr, ZeroTerminalSnr,
           "another schedule stretched to no signal at the last step (Lin et al. 2023); elsewhere: ztsnr, "
           "rescale_betas_zero_snr")
