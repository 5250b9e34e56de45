#pragma once
// How noisy is time? Schedules, and the noise levels that everybody else asks. Plain float64 numbers, no tensor.
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <dtk/plugin.hpp>

#define DTK_Schedule_VERSION 3_0

namespace dtk {

/// x_t = α·x_0 + σ·ε at one time. An end may have α = 0 (log-SNR −∞) or σ = 0 (log-SNR ∞).
struct NoiseLevel {
    double alpha = 1;
    double sigma = 0;
    double log_snr = 0;  ///< log(α²/σ²)
};

/// α² + σ² = 1 at that log-SNR: α² = sigmoid(log-SNR).
DTK_API NoiseLevel variance_preserving(double log_snr);
/// Any α ≥ 0 and σ ≥ 0, not both 0.
DTK_API NoiseLevel noise_level(double alpha, double sigma);

/// The noise of a process at every real time t in [−1, T−1], and what follows from it.
///
/// Time is 0-based everywhere in dtk: entry t = 0 … T−1 of a table is the state *after* step t+1 of the papers, and in
/// continuous time u = (t+1)/T. At t = −1, before the first step, data are clean: α = 1, σ = 0. A schedule that is a
/// function of u is asked itself. A table answers exactly at whole t; between two of them log-SNR is interpolated (α/σ
/// where an end has α = 0), and between −1 and 0 it is σ²/α².
class DTK_API NoiseLevels {
 public:
    /// From β_1 … β_T, each in (0, 1]: variance preserving, ᾱ_t = Π(1−β), 1−ᾱ by its own recurrence (no cancellation).
    static NoiseLevels from_betas(const std::vector<double>& betas);
    /// From the levels at t = 0 … T−1, strictly falling in SNR.
    static NoiseLevels from_table(const std::vector<NoiseLevel>& levels);
    /// From a function of u in (0, 1], strictly falling in SNR. Errors: Error where it is not, at whole steps.
    static NoiseLevels from_function(std::int64_t steps, std::function<NoiseLevel(double u)> level);

    std::int64_t steps() const { return steps_; }  ///< T
    double first() const { return 0; }
    double last() const { return static_cast<double>(steps_ - 1); }
    bool continuous() const { return static_cast<bool>(function_); }  ///< a function of u, not a table?

    NoiseLevel at(double t) const;
    double alpha(double t) const { return at(t).alpha; }
    double sigma(double t) const { return at(t).sigma; }
    double log_snr(double t) const { return at(t).log_snr; }
    double alpha_bar(double t) const;  ///< α²
    double sigma2(double t) const;     ///< σ²; of variance-preserving levels 1−ᾱ
    double snr(double t) const;        ///< α²/σ²; ∞ at t = −1
    double ratio(double t) const;      ///< σ/α; ∞ where α = 0

    /// dα/du and dσ/du, u = (t+1)/T.
    struct Rates {
        double alpha, sigma;
    };
    Rates rates(double t) const;

    /// The time with that log-SNR; beyond the ends, −1 or T−1.
    double time(double log_snr) const;
    /// The time with that σ/α.
    double time_of_ratio(double ratio) const;

    /// Does α² + σ² = 1 hold at all whole times?
    bool is_variance_preserving() const { return variance_preserving_; }
    /// Standard deviation of what sampling starts from at t: of all of x_t where the variance is preserved, else of its
    /// noise.
    double prior_sd(double t) const { return variance_preserving_ ? 1 : sigma(t); }

    /// σ²_{t|s} of q(x_t | x_s), s < t: the noise added between s and t; β_t where s = t−1 and α² + σ² = 1.
    double added_variance(double t, double s) const;
    /// β̃: variance of q(x_s | x_t, x_0), 0 for s = −1 (Ho et al. 2020, eq. 7, for any s < t).
    double posterior_variance(double t, double s) const;
    /// Coefficients of x_0 and x_t in the mean of q(x_s | x_t, x_0).
    double posterior_mean_x0(double t, double s) const;
    double posterior_mean_xt(double t, double s) const;

 private:
    struct Entry {
        double alpha, alpha_bar, sigma2, log_snr;
    };
    NoiseLevel between(double t) const;
    void check();

    std::int64_t steps_ = 0;
    bool variance_preserving_ = true;
    std::vector<Entry> table_;  ///< at whole times
    std::vector<double> beta_;  ///< where it was made from them
    std::function<NoiseLevel(double)> function_;
};

/// How noisy is time? Derive from one of the two below.
class DTK_API Schedule : public std::enable_shared_from_this<Schedule> {
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
    /// Errors: Error where there are not as many β as steps, or one is outside (0, 1].
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
    /// Strictly falling in SNR: `variance_preserving(log_snr)` or `noise_level(alpha, sigma)`.
    virtual NoiseLevel level(double u) const = 0;
    NoiseLevels levels(std::int64_t steps) const final;
};

}  // namespace dtk
