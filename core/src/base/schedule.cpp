#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include <dtk/grid.hpp>
#include <dtk/schedule.hpp>

namespace dtk {

Schedule::~Schedule() = default;
Grid::~Grid() = default;

NoiseLevels NoiseLevels::from_betas(const std::vector<double>& betas) {
    NoiseLevels levels;
    double alpha_bar = 1, sigma2 = 0;
    for (std::size_t t = 0; t < betas.size(); ++t) {
        const double beta = betas[t];
        if (!(beta > 0 && beta <= 1))
            throw Error(fmt::format("β = {} at step {} of {} is outside (0, 1]", beta, t + 1, betas.size()),
                        "change the schedule's ends or the number of steps");
        if (alpha_bar == 0)
            throw Error(fmt::format("ᾱ is already 0 at step {} of {}", t, betas.size()), "only the last β may be 1");
        sigma2 += alpha_bar * beta;
        alpha_bar *= 1 - beta;
        levels.alpha_bar_.push_back(alpha_bar);
        levels.alpha_.push_back(std::sqrt(alpha_bar));
        levels.sigma2_.push_back(sigma2);
        levels.beta_.push_back(beta);
    }
    return levels;
}

NoiseLevels NoiseLevels::from_log_snr(const std::vector<double>& log_snr, const std::vector<double>& log_alpha) {
    NoiseLevels levels;
    for (std::size_t t = 0; t < log_snr.size(); ++t) {
        if (std::isnan(log_snr[t]) || log_snr[t] == std::numeric_limits<double>::infinity())
            throw Error(fmt::format("log-SNR = {} at step {} of {}", log_snr[t], t + 1, log_snr.size()));
        if (t > 0 && !(log_snr[t] < log_snr[t - 1]))
            throw Error(
                fmt::format("log-SNR does not fall from step {} to {}: {} → {}", t, t + 1, log_snr[t - 1], log_snr[t]));
        levels.alpha_.push_back(std::exp(log_alpha[t]));
        levels.alpha_bar_.push_back(std::exp(2 * log_alpha[t]));
        levels.sigma2_.push_back(std::exp(2 * log_alpha[t] - log_snr[t]));
    }
    return levels;
}

double NoiseLevels::sigma(std::int64_t t) const { return std::sqrt(sigma2(t)); }

double NoiseLevels::snr(std::int64_t t) const {
    return t < 0 ? std::numeric_limits<double>::infinity() : alpha_bar_[t] / sigma2_[t];
}

double NoiseLevels::log_snr(std::int64_t t) const { return std::log(snr(t)); }

double NoiseLevels::added_variance(std::int64_t t, std::int64_t s) const {
    if (s == t - 1 && !beta_.empty()) return beta_[t];
    return sigma2(t) - alpha_bar(t) / alpha_bar(s) * sigma2(s);
}

double NoiseLevels::posterior_variance(std::int64_t t, std::int64_t s) const {
    return added_variance(t, s) * sigma2(s) / sigma2(t);
}

double NoiseLevels::posterior_mean_x0(std::int64_t t, std::int64_t s) const {
    return alpha(s) * added_variance(t, s) / sigma2(t);
}

double NoiseLevels::posterior_mean_xt(std::int64_t t, std::int64_t s) const {
    return alpha(t) / alpha(s) * sigma2(s) / sigma2(t);
}

NoiseLevels BetaSchedule::levels(std::int64_t steps) const { return NoiseLevels::from_betas(betas(steps)); }

void BetaRamp::Config::fields(Fields& f) {
    f("beta_start", beta_start, inside(0, 1), "β of the first step, at T = 1000");
    f("beta_end", beta_end, inside(0, 1), "β of the last step, at T = 1000");
    f("rescale", rescale, "multiply β by 1000/T, so that ᾱ_T hardly depends on T");
}

std::vector<double> BetaRamp::betas(std::int64_t steps) const {
    const auto& [start, end, rescale] = config_;
    const double scale = rescale ? 1000.0 / static_cast<double>(steps) : 1;
    if (scale * std::max(start, end) >= 1)
        throw Error(fmt::format("β_end = {} rescaled by 1000/T for {} steps is {}, and β must be less than 1", end,
                                steps, scale * end),
                    "use more steps, a smaller beta_end, or rescale = false");
    std::vector<double> betas(static_cast<std::size_t>(steps));
    for (std::int64_t i = 0; i < steps; ++i) {
        const double u = steps > 1 ? static_cast<double>(i) / static_cast<double>(steps - 1) : 0;
        betas[static_cast<std::size_t>(i)] = scale * beta(start, end, u);
    }
    return betas;
}

double ContinuousSchedule::log_alpha(double u) const {
    const double lambda = log_snr(u);  // ½ log sigmoid(λ), written so that neither end cancels
    return lambda > 0 ? -0.5 * std::log1p(std::exp(-lambda)) : 0.5 * (lambda - std::log1p(std::exp(lambda)));
}

NoiseLevels ContinuousSchedule::levels(std::int64_t steps) const {
    std::vector<double> snr, alpha;
    for (std::int64_t t = 0; t < steps; ++t) {
        const double u = static_cast<double>(t + 1) / static_cast<double>(steps);
        snr.push_back(log_snr(u));
        alpha.push_back(log_alpha(u));
    }
    return NoiseLevels::from_log_snr(snr, alpha);
}

}  // namespace dtk
