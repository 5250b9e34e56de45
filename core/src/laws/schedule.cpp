// Laws of schedules: how noisy each time is, at the steps, between them, and at both ends.
#include <cmath>
#include <limits>

#include <dtk/schedule.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The levels for so many steps; a schedule may refuse few of them, in words.
std::optional<NoiseLevels> levels(const Trial& trial, std::int64_t steps, Findings& found) {
    try {
        auto levels = trial.make<Schedule>(trial.benches().front())->levels(steps);
        found.expect(levels.steps() == steps, fmt::format("asked for {} steps it has {}", steps, levels.steps()));
        return levels;
    } catch (const Error& error) {
        found.expect(!error.help().empty(), fmt::format("it refuses {} steps without a cure: {}", steps, error.what()));
        return std::nullopt;
    }
}

/// Calls look(levels) for 1, 2, 10, 25 and 1000 steps where it has such.
template <class Look>
void for_steps(const Trial& trial, Findings& found, const Look& look) {
    int had = 0;
    for (const std::int64_t T : {1, 2, 10, 25, 1000}) {
        const Within within(found, fmt::format("T = {}", T));
        if (const auto l = levels(trial, T, found); l && !found.broken()) {
            ++had;
            look(*l);
        }
    }
    found.expect(had > 0, "it has levels for none of 1, 2, 10, 25 and 1000 steps");
}

/// Real times from end to end, whole ones and others.
std::vector<double> real_times(const NoiseLevels& levels) {
    std::vector<double> times;
    const double T = static_cast<double>(levels.steps());
    for (const double u : {1e-4, 0.0004, 0.0011, 0.01, 0.0502, 0.25, 0.47, 0.5307, 0.75, 0.9, 0.99, 0.9993, 1.0})
        times.push_back(u * T - 1);
    for (const double t : {0.0, 1.0, std::floor(T / 3)})
        if (t <= levels.last()) times.push_back(t);
    return times;
}

void finite_and_legal(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        for (double t = -0.75; t <= l.last(); t += 0.25) {
            const auto [alpha, sigma, log_snr] = l.at(t);
            found.expect(std::isfinite(alpha) && std::isfinite(sigma) && alpha >= 0 && sigma > 0,
                         fmt::format("α = {}, σ = {} at t = {}", alpha, sigma, t));
            found.expect(alpha > 0 || t == l.last(), fmt::format("α = 0 at t = {}, before the last step", t));
            if (alpha > 0)
                found.at_most(std::abs(log_snr - 2 * std::log(alpha / sigma)) / std::max(1.0, std::abs(log_snr)), 1e-9,
                              fmt::format("|log-SNR − log(α²/σ²)| at t = {}", t));
            if (l.is_variance_preserving())
                found.at_most(std::abs(alpha * alpha + sigma * sigma - 1), 1e-9,
                              fmt::format("|α² + σ² − 1| at t = {}", t));
        }
    });
}

void clean_before_the_first_step(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        found.expect(l.alpha(-1) == 1 && l.sigma(-1) == 0,
                     fmt::format("α = {}, σ = {} at t = −1, where data are clean", l.alpha(-1), l.sigma(-1)));
        for (const double t : {-1 + 1e-3, -1 + 1e-9, -1 + 1e-15}) {
            const auto [alpha, sigma, log_snr] = l.at(t);
            found.expect(alpha > 0 && sigma >= 0 && sigma <= l.sigma(0) && log_snr >= l.log_snr(0),
                         fmt::format("α = {}, σ = {} at t + 1 = {}", alpha, sigma, t + 1));
        }
    });
}

void noisier_with_time(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        double before = -1;
        for (std::int64_t i = 1; i <= 4 * l.steps(); ++i) {
            const double t = static_cast<double>(i) / 4 - 1;
            found.expect(l.log_snr(t) < l.log_snr(before),
                         fmt::format("log-SNR = {} at t = {}, {} at t = {}: noise must grow with time",
                                     l.log_snr(before), before, l.log_snr(t), t));
            before = t;
        }
    });
}

void steps_fit_together(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        for (const double t : real_times(l))
            for (const double share : {0.0, 0.5, 0.9, 0.999}) {
                const double s = (t + 1) * share - 1;
                const auto place = fmt::format("from t = {} to s = {}", t, s);
                const double added = l.added_variance(t, s), left = l.posterior_variance(t, s);
                found.expect(added > 0, fmt::format("the noise added is {} {}", added, place));
                found.expect(left >= 0 && left <= added * (1 + 1e-12),
                             fmt::format("the variance of q(x_s | x_t, x_0) is {}, that of q(x_t | x_s) {} {}", left,
                                         added, place));
                // E[x_s | x_t = α_t x_0, x_0] = α_s x_0, whatever x_0
                found.at_most(std::abs(l.posterior_mean_x0(t, s) + l.posterior_mean_xt(t, s) * l.alpha(t) - l.alpha(s)),
                              1e-9, fmt::format("the mean of q(x_s | x_t, x_0) is off by |Δ| {}", place));
                if (l.alpha(t) > 0)
                    found.at_most(std::abs(added + std::pow(l.alpha(t) / l.alpha(s), 2) * l.sigma2(s) - l.sigma2(t)) /
                                      std::max(1.0, l.sigma2(t)),
                                  1e-12, fmt::format("σ²_t of q(x_t | x_s) q(x_s | x_0) is off by |Δ| {}", place));
            }
    });
}

void found_again_by_noise(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        const double T = static_cast<double>(l.steps());
        for (const double t : real_times(l)) {
            if (t <= -1) continue;
            found.at_most(std::abs(l.time(l.log_snr(t)) - t) / T, 1e-9,
                          fmt::format("|Δu| of the log-SNR at t = {}", t));
            found.at_most(std::abs(l.time_of_ratio(l.ratio(t)) - t) / T, 1e-9, fmt::format("|Δu| of σ/α at t = {}", t));
        }
        found.expect(l.time(-infinity) == l.last() && l.time(infinity) == -1, "the ends of log-SNR are not its ends");
    });
}

void rates_are_slopes(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        if (!l.continuous()) return found.not_asked("a table has corners");
        for (const double t : real_times(l)) {
            const double h = t == l.last() ? 1e-8 * static_cast<double>(l.steps())  // some fall steeply there
                                           : 1e-3 * std::min(t + 1, l.last() - t);
            const auto slope = [&](auto of) {
                const double per_u = static_cast<double>(l.steps()) / (12 * h);
                if (t == l.last())
                    return (25 * of(t) - 48 * of(t - h) + 36 * of(t - 2 * h) - 16 * of(t - 3 * h) + 3 * of(t - 4 * h)) *
                           per_u;
                return (of(t - 2 * h) - 8 * of(t - h) + 8 * of(t + h) - of(t + 2 * h)) * per_u;
            };
            const double alpha = slope([&](double x) { return l.alpha(x); }),
                         sigma = slope([&](double x) { return l.sigma(x); });
            const auto rates = l.rates(t);
            found.at_most(std::abs(rates.alpha - alpha) / (std::abs(alpha) + 0.1), 1e-5,
                          fmt::format("dα/du against differences at t = {}", t));
            found.at_most(std::abs(rates.sigma - sigma) / (std::abs(sigma) + 0.1), 1e-5,
                          fmt::format("dσ/du against differences at t = {}", t));
        }
    });
}

void same_twice(const Trial& trial, Findings& found) {
    const auto schedule = trial.make<Schedule>(trial.benches().front());
    std::int64_t T = 1000;
    const auto all = [&](std::int64_t steps) {
        std::vector<double> values;
        const auto l = schedule->levels(steps);
        for (std::int64_t t = 0; t < steps; ++t) values.push_back(l.log_snr(static_cast<double>(t)));
        return values;
    };
    try {
        schedule->levels(T);
    } catch (const Error&) {
        return found.not_asked("it has no 1000 steps");
    }
    const auto first = all(T);
    try {
        all(T / 4);
    } catch (const Error&) {
    }
    found.expect(all(T) == first, "asked again, it has other levels: it remembers what it was asked");
    // What float32 tensors see must still be noise: 1 − ᾱ of the first step is not lost.
    const auto l = schedule->levels(T);
    found.expect(static_cast<float>(l.sigma(0)) > 0 && std::isfinite(static_cast<float>(l.sigma(l.last()))),
                 fmt::format("σ = {} … {} is nothing, or no number, in float32", l.sigma(0), l.sigma(l.last())));
}

}  // namespace

const std::vector<Law> schedule_laws{
    {"α and σ are finite and legal at every time", finite_and_legal},
    {"data are clean before the first step", clean_before_the_first_step},
    {"noise grows with time, at the steps and between them", noisier_with_time},
    {"its steps fit together: forward, backward, and across several", steps_fit_together},
    {"the time of a noise level is where it has it", found_again_by_noise},
    {"rates are the slopes of α and σ", rates_are_slopes},
    {"asked twice, it answers the same", same_twice},
};

}  // namespace dtk::laws
