// Weightings that do wrong on purpose; each names the law that it breaks as its summary.
#include <algorithm>
#include <cmath>

#include <dtk/weighting.hpp>

namespace {

/// Times what it should be divided by.
struct Multiplies final : dtk::Weighting {
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        return std::min(std::exp(level.log_snr), 5.0) * per_x0;
    }
};

/// The clip at γ of what is compared, so that it means something else for each type of prediction.
struct ClipsAfterwards final : dtk::Weighting {
    double weight(const dtk::NoiseLevel& level, double per_x0) const override {
        return std::min(std::exp(level.log_snr) / per_x0, 5.0);
    }
};

/// The logarithm of SNR for SNR.
struct Logarithm final : dtk::Weighting {
    double weight(const dtk::NoiseLevel& level, double per_x0) const override { return level.log_snr / per_x0; }
};

/// 1/SNR, which has no end where there is no signal.
struct Endless final : dtk::Weighting {
    double weight(const dtk::NoiseLevel& level, double) const override { return 1 / std::exp(level.log_snr); }
};

/// Over the largest weight so far.
struct RunningMost final : dtk::Weighting {
    double weight(const dtk::NoiseLevel& level, double) const override {
        const double snr = std::exp(level.log_snr);
        most_ = std::max(most_, snr);
        return snr / most_;
    }
    mutable double most_ = 1e-300;
};

}  // namespace

DTK_PLUGIN(Weighting, multiplies, Multiplies,
           "λ weighs the error of x_0, whatever is compared, or what is compared itself")
DTK_PLUGIN(Weighting, clips_afterwards, ClipsAfterwards,
           "λ weighs the error of x_0, whatever is compared, or what is compared itself")
DTK_PLUGIN(Weighting, logarithm, Logarithm, "λ is finite and not negative at every noise level, and not always 0")
DTK_PLUGIN(Weighting, endless, Endless, "λ is finite and not negative at every noise level, and not always 0")
DTK_PLUGIN(Weighting, running_most, RunningMost, "λ is that of the noise level, whatever was asked before")
