// log SNR(u) = log SNR(u) of another schedule + shift, with α² + σ² = 1 where that held, else with α as it was.
// 2·log(64/side) keeps the noise of images of that side at what 64×64 ones have after averaging.
// Hoogeboom, Heek & Salimans, "simple diffusion", 2023, section 2.1.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Shifted final : dtk::Schedule {
    struct Config {
        dtk::Part<dtk::Schedule> of{"cosine_log_snr"};
        double shift = 0;
        void fields(dtk::Fields& f) {
            f("of", of, "the schedule that is shifted");
            f("shift", shift, dtk::in(-40, 40), "added to its log-SNR; less than 0: more noise");
        }
    } c;
    Shifted(const Config& config, const dtk::BuildContext& context) : c(config), of_(config.of.make(context)) {}

    dtk::NoiseLevels levels(std::int64_t steps) const override {
        const auto levels = of_->levels(steps);
        const auto shifted = [levels, shift = c.shift](double t) {
            const auto [alpha, sigma, log_snr] = levels.at(t);
            if (levels.is_variance_preserving()) return dtk::variance_preserving(log_snr + shift);
            return dtk::NoiseLevel{alpha, sigma * std::exp(-shift / 2), log_snr + shift};
        };
        const auto T = static_cast<double>(steps);
        return dtk::NoiseLevels::from_function(steps, [=](double u) { return shifted(u * T - 1); });
    }

 private:
    std::shared_ptr<dtk::Schedule> of_;
};
}  // namespace

DTK_PLUGIN(Schedule, shifted, Shifted, "another schedule with its log-SNR moved (Hoogeboom et al. 2023)")
