// log SNR(u) = u·(λ(u) + low) + (1 − u)·(λ(u) + high), λ of another schedule: shifted by `high` at the clean end and by
// `low` at the noisy one. Variance preserving.
// Hoogeboom, Heek & Salimans, "simple diffusion", 2023, eq. 4.
#include <dtk/build_context.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Interpolated final : dtk::Schedule {
    struct Config {
        dtk::Part<dtk::Schedule> of{"cosine_log_snr"};
        double low = 0, high = 0;
        void fields(dtk::Fields& f) {
            f("of", of, "the schedule that is shifted");
            f("low", low, dtk::in(-40, 40), "added to its log-SNR at the noisy end, u = 1");
            f("high", high, dtk::in(-40, 40), "added to its log-SNR at the clean end, u = 0");
        }
    } c;
    Interpolated(const Config& config, const dtk::BuildContext& context) : c(config), of_(config.of.make(context)) {}

    dtk::NoiseLevels levels(std::int64_t steps) const override {
        const auto T = static_cast<double>(steps);
        return dtk::NoiseLevels::from_function(steps, [levels = of_->levels(steps), c = c, T](double u) {
            return dtk::variance_preserving(levels.log_snr(u * T - 1) + u * c.low + (1 - u) * c.high);
        });
    }

 private:
    std::shared_ptr<dtk::Schedule> of_;
};
}  // namespace

DTK_PLUGIN(Schedule, interpolated, Interpolated,
           "another schedule with a shift of log-SNR that changes along u (Hoogeboom et al. 2023)")
