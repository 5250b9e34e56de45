#pragma once
#include <cstdint>
#include <vector>

#include <dtk/plugin.hpp>

#define DTK_Schedule_VERSION 1

namespace dtk {

/// x_t = α_t·x_0 + σ_t·ε at every step, in float64, and what follows from it.
///
/// Time is 0-based everywhere in dtk: t = 0 … T−1, and entry t is the state *after* step t+1 of the papers. Before the
/// first step, t = −1, there is no noise: α = 1, σ = 0, ᾱ = 1. The functions accept that t.
class DTK_API NoiseLevels {
 public:
    /// From β_1 … β_T, each in (0, 1]: variance preserving, ᾱ_t = Π(1−β), 1−ᾱ by its own recurrence (no cancellation).
    static NoiseLevels from_betas(const std::vector<double>& betas);
    /// From log(α²/σ²) and log α at every step, strictly falling in SNR.
    static NoiseLevels from_log_snr(const std::vector<double>& log_snr, const std::vector<double>& log_alpha);

    std::int64_t steps() const { return static_cast<std::int64_t>(alpha_.size()); }  ///< T
    double alpha(std::int64_t t) const { return t < 0 ? 1 : alpha_[t]; }
    double sigma2(std::int64_t t) const { return t < 0 ? 0 : sigma2_[t]; }  ///< σ², for variance preserving 1−ᾱ
    double sigma(std::int64_t t) const;
    double alpha_bar(std::int64_t t) const {
        return t < 0 ? 1 : alpha_bar_[t];
    }                                  ///< α², of variance-preserving levels ᾱ
    double snr(std::int64_t t) const;  ///< α²/σ²; ∞ before the first step
    double log_snr(std::int64_t t) const;
    /// σ²_{t|s} of q(x_t | x_s), s < t: the noise added between s and t; β_t where s = t−1 and α² + σ² = 1.
    double added_variance(std::int64_t t, std::int64_t s) const;
    /// β̃: variance of q(x_s | x_t, x_0), 0 for s = −1 (Ho et al. 2020, eq. 7, for any s < t).
    double posterior_variance(std::int64_t t, std::int64_t s) const;
    /// Coefficients of x_0 and x_t in the mean of q(x_s | x_t, x_0).
    double posterior_mean_x0(std::int64_t t, std::int64_t s) const;
    double posterior_mean_xt(std::int64_t t, std::int64_t s) const;

 private:
    std::vector<double> alpha_, alpha_bar_, sigma2_, beta_;
};

/// How noisy is time? Plain float64 numbers, no tensor. Derive from one of the two below.
class DTK_API Schedule {
 public:
    static constexpr const char* kind = "schedule";
    virtual ~Schedule();
    /// The noise levels of a process of `steps` steps. Errors: Error where the schedule has none for that many.
    virtual NoiseLevels levels(std::int64_t steps) const = 0;
};

/// A schedule that is a table of β.
class DTK_API BetaSchedule : public Schedule {
 public:
    /// β_1 … β_steps, each in (0, 1].
    virtual std::vector<double> betas(std::int64_t steps) const = 0;
    NoiseLevels levels(std::int64_t steps) const final;
};

/// A table of β between two ends that are stated for T = 1000; other T keep ᾱ_T by the factor 1000/T of Nichol &
/// Dhariwal 2021. Errors: Error where that makes a β of 1 or more (T ≤ 20 with the usual ends).
class DTK_API BetaRamp : public BetaSchedule {
 public:
    struct DTK_API Config {
        double beta_start = 1e-4, beta_end = 0.02;
        bool rescale = true;
        void fields(Fields& f);
    };
    explicit BetaRamp(const Config& config) : config_(config) {}
    std::vector<double> betas(std::int64_t steps) const final;

 protected:
    /// β at u = i/(T−1) ∈ [0, 1], between its ends.
    virtual double beta(double start, double end, double u) const = 0;

 private:
    Config config_;
};

/// A schedule that is a function of continuous time u ∈ (0, 1], 0 clean; step t of T stands at u = (t+1)/T.
class DTK_API ContinuousSchedule : public Schedule {
 public:
    /// log(α²/σ²), strictly falling in u.
    virtual double log_snr(double u) const = 0;
    /// log α. Variance preserving unless said otherwise: α² = sigmoid(log_snr).
    virtual double log_alpha(double u) const;
    NoiseLevels levels(std::int64_t steps) const final;
};

}  // namespace dtk
