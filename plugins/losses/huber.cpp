// L = E Σ 2c(√(Δ² + c²) − c)/d,   Δ = target − prediction: Δ² where it is small beside c, 2c|Δ| where it is large
// Charbonnier et al. 1994; c_t of the time: Khrapov et al., "Improving Diffusion Models's Data-Corruption Resistance
// using Scheduled Pseudo-Huber Loss", 2024. What it is least for is no posterior mean, but between mean and median.
#include <cmath>

#include <dtk/compared.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Huber final : dtk::Loss {
    struct Config : dtk::Compared::Config {
        double c = 0.1;
        std::string schedule = "constant";
        void fields(dtk::Fields& f) {
            f("c", c, dtk::above(0), "c, the error beyond which it grows like |Δ|");
            f("schedule", schedule, {"constant", "exponential", "snr"},
              "c_t: c, or c^u with u = (t+1)/T, or (1 − c)/(1 + σ/α)² + c");
            dtk::Compared::Config::fields(f);
        }
    } c;
    Huber(const Config& config, const dtk::BuildContext& context) : c(config), compared_(config, context) {}

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto [error, type] = compared_(denoise, batch.x, t, random.stream("noise"));
        const auto corner = this->corner(denoise.process(), t).beside(error);
        const auto huber = 2 * corner * error.square() / ((error.square() + corner.square()).sqrt() + corner);
        return {{{.value = dtk::mean_of_existing(huber, batch.condition.mask), .error_of = type}}};
    }

 private:
    dtk::Coefficient corner(const dtk::Process& process, const dtk::Time& t) const {
        if (c.schedule == "constant") return c.c;
        const auto T = static_cast<double>(process.steps());
        if (c.schedule == "exponential") return t.map([&](double t) { return std::pow(c.c, (t + 1) / T); });
        const auto& levels = process.levels();
        return t.map([&](double t) { return (1 - c.c) / std::pow(1 + levels.ratio(t), 2) + c.c; });
    }

    dtk::Compared compared_;
};
}  // namespace

DTK_PLUGIN(Loss, huber, Huber, "an error that large differences weigh less in (Charbonnier et al. 1994)")
