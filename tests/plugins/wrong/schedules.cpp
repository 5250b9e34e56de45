// Schedules that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>

#include <dtk/schedule.hpp>

namespace {

/// cos²-like, and rising again near the end.
struct TurnsBack final : dtk::ContinuousSchedule {
    dtk::NoiseLevel level(double u) const override { return dtk::variance_preserving(8 - 16 * u + 9 * u * u * u * u); }
};

/// ᾱ where α belongs.
struct SquaredAlpha final : dtk::ContinuousSchedule {
    dtk::NoiseLevel level(double u) const override {
        const auto right = dtk::variance_preserving(8 - 16 * u);
        return {right.alpha * right.alpha, right.sigma, right.log_snr};
    }
};

/// Levels that depend on what was asked before.
struct Remembers final : dtk::BetaSchedule {
    std::vector<double> betas(std::int64_t steps) const override {
        asked_ = steps;
        std::vector<double> all;
        for (std::int64_t i = 1; i <= steps; ++i)
            all.push_back(0.02 * static_cast<double>(i) / static_cast<double>(before_ > 0 ? before_ : steps));
        before_ = asked_;
        return all;
    }
    mutable std::int64_t asked_ = 0, before_ = 0;
};

/// One step too many.
struct OneMore final : dtk::Schedule {
    dtk::NoiseLevels levels(std::int64_t steps) const override {
        return dtk::NoiseLevels::from_function(steps + 1,
                                               [](double u) { return dtk::variance_preserving(8 - 16 * u); });
    }
};

/// A step in the middle, where the noise does not grow.
struct Rests final : dtk::ContinuousSchedule {
    dtk::NoiseLevel level(double u) const override {
        return dtk::variance_preserving(8 - 16 * (u < 0.5 ? u : std::max(0.5, u - 0.001)));
    }
};

/// σ of the first step is lost in 1 − ᾱ.
struct Cancels final : dtk::ContinuousSchedule {
    dtk::NoiseLevel level(double u) const override {
        const double alpha_bar = 1 - 1e-17 - u * u * 0.99;
        return dtk::noise_level(std::sqrt(alpha_bar), std::sqrt(1 - alpha_bar) + 1e-60);
    }
};

/// Reading beyond the end of a table.
struct Crashes final : dtk::ContinuousSchedule {
    dtk::NoiseLevel level(double u) const override {
        if (u > 0.77) *const_cast<volatile int*>(static_cast<int*>(nullptr)) = 1;
        return dtk::variance_preserving(8 - 16 * u);
    }
};

}  // namespace

DTK_PLUGIN(Schedule, turns_back, TurnsBack, "noise grows with time, at the steps and between them")
DTK_PLUGIN(Schedule, squared_alpha, SquaredAlpha, "α and σ are finite and legal at every time")
DTK_PLUGIN(Schedule, remembers, Remembers, "asked twice, it answers the same")
DTK_PLUGIN(Schedule, one_more, OneMore, "α and σ are finite and legal at every time")
DTK_PLUGIN(Schedule, rests, Rests, "noise grows with time, at the steps and between them")
DTK_PLUGIN(Schedule, cancels, Cancels, "noise grows with time, at the steps and between them")
DTK_PLUGIN(Schedule, crashes, Crashes, "α and σ are finite and legal at every time")
