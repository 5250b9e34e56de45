// Laws of schedules: how noisy each time is, at the steps, between them, and at both ends.
#include <cmath>
#include <limits>
#include <thread>

#include <dtk/schedule.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::shared_ptr<Schedule> made(const Trial& trial) { return trial.make<Schedule>(trial.benches().front()); }

/// The levels for so many steps; a schedule may refuse few of them, in words.
std::optional<NoiseLevels> levels(const Trial& trial, std::int64_t steps, Findings& found) {
    try {
        auto levels = made(trial)->levels(steps);
        found.expect(levels.steps() == steps, fmt::format("asked for {} steps it has {}", steps, levels.steps()));
        return levels;
    } catch (const Error& error) {
        found.expect(!error.help().empty() && std::string(error.what()).size() > 20,
                     fmt::format("it refuses {} steps without a cure: {}", steps, error.what()));
        return std::nullopt;
    }
}

/// Calls look(levels) for 1, 2, 10, 25 and 1000 steps where it has such.
template <class Look>
void for_steps(const Trial& trial, Findings& found, const Look& look) {
    int had = 0;
    for (const std::int64_t T : {1, 2, 10, 25, 1000}) {
        const Within within(found, fmt::format("T = {}", T));
        const auto l = levels(trial, T, found);
        if (found.broken()) return;
        if (!l) continue;
        ++had;
        look(*l);
    }
    found.expect(had > 0, "it has levels for none of 1, 2, 10, 25 and 1000 steps");
}

void for_many_steps(const Trial& trial, Findings& found) {
    int had = 0;
    for (const std::int64_t T : {1, 2, 10, 25, 1000}) {
        const auto l = levels(trial, T, found);
        if (!l && T > 20 && had <= 1) return found.not_asked("it is a list of one number of levels");
        found.expect(l || T <= 20, fmt::format("it has levels for fewer steps, and refuses {}", T));
        had += l ? 1 : 0;
    }
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
        bool preserves = true;
        for (double t = 0; t <= l.last(); ++t)
            preserves = preserves && std::abs(l.alpha_bar(t) + l.sigma2(t) - 1) <= 1e-9;
        found.expect(preserves || !l.is_variance_preserving(), "α² + σ² is not 1 where it says so");
        for (double t = -0.75; t <= l.last(); t += 0.25) {
            const auto [alpha, sigma, log_snr] = l.at(t);
            found.expect(
                std::isfinite(alpha) && std::isfinite(sigma) && alpha >= 0 && sigma > 0 && !std::isnan(log_snr),
                fmt::format("α = {}, σ = {}, log-SNR = {} at t = {}", alpha, sigma, log_snr, t));
            found.expect(alpha > 0 || t == l.last(), fmt::format("α = 0 at t = {}, before the last step", t));
            if (alpha > 0)
                found.at_most(std::abs(log_snr - 2 * std::log(alpha / sigma)) / std::max(1.0, std::abs(log_snr)), 1e-9,
                              fmt::format("|log-SNR − log(α²/σ²)| at t = {}", t));
            if (l.is_variance_preserving())
                found.at_most(std::abs(l.alpha_bar(t) + l.sigma2(t) - 1), t == std::floor(t) ? 1e-12 : 1e-9,
                              fmt::format("|α² + σ² − 1| at t = {}", t));
        }
    });
}

void clean_before_the_first_step(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        found.expect(
            l.alpha(-1) == 1 && l.alpha_bar(-1) == 1 && l.sigma(-1) == 0 && l.sigma2(-1) == 0 && l.snr(-1) == infinity,
            fmt::format("α = {}, σ = {} at t = −1, where data are clean", l.alpha(-1), l.sigma(-1)));
        found.expect(l.posterior_variance(0, -1) == 0, "q(x_{−1} | x_0, data) has a variance where data are clean");
        found.at_most(std::abs(l.posterior_mean_x0(0, -1) - 1), 1e-12, "|Δ| of its mean from the data");
        for (const double t : {-1 + 1e-3, -1 + 1e-9, -1 + 1e-15}) {
            const auto [alpha, sigma, log_snr] = l.at(t);
            found.expect(alpha > 0 && alpha <= 1 + 1e-9 && sigma >= 0 && sigma <= l.sigma(0) && log_snr > l.log_snr(0),
                         fmt::format("α = {}, σ = {}, log-SNR = {} at t + 1 = {}, and {}, {}, {} at t = 0", alpha,
                                     sigma, log_snr, t + 1, l.alpha(0), l.sigma(0), l.log_snr(0)));
        }
    });
}

void noisier_with_time(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        const auto T = static_cast<double>(l.steps());
        double before = -1;
        const auto grows = [&](double t) {
            found.expect(l.log_snr(t) < l.log_snr(before),
                         fmt::format("log-SNR = {} at t = {}, {} at t = {}: noise must grow with time",
                                     l.log_snr(before), before, l.log_snr(t), t));
            before = t;
        };
        // Towards clean data, where digits of 1 − ᾱ are lost first, and densely from end to end.
        for (int k = 30; k > 12; --k) grows(std::pow(0.5, k) * T - 1);
        const auto parts = 4 * std::max<std::int64_t>(l.steps(), 1000);
        for (std::int64_t i = 1; i <= parts; ++i) grows(static_cast<double>(i) * T / static_cast<double>(parts) - 1);
        if (!l.is_variance_preserving()) return;
        for (double t = 0; t <= l.last(); ++t)
            found.expect(l.alpha_bar(t) < l.alpha_bar(t - 1) ||
                             (l.sigma2(t) < 1e-9 && l.alpha_bar(t) <= l.alpha_bar(t - 1)),  // digits of 1 − ᾱ alone
                         fmt::format("ᾱ does not fall at step {}", t));
    });
}

void steps_fit_together(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        const auto step = [&](double t, double s) {
            const auto place = [&] { return fmt::format("from t = {} to s = {}", t, s); };
            const double added = l.added_variance(t, s), left = l.posterior_variance(t, s);
            found.expect(l.snr(t) < l.snr(s) && added > 0, fmt::format("the noise added is {} {}", added, place()));
            found.expect(left >= 0 && left <= added * (1 + 1e-12),
                         fmt::format("the variance of q(x_s | x_t, x_0) is {}, that of q(x_t | x_s) {} {}", left, added,
                                     place()));
            // E[x_s | x_t = α_t x_0, x_0] = α_s x_0, whatever x_0
            found.at_most(
                std::abs(l.posterior_mean_x0(t, s) + l.posterior_mean_xt(t, s) * l.alpha(t) - l.alpha(s)) / l.alpha(s),
                1e-9, "the mean of q(x_s | x_t, x_0) is off by |Δ|/α_s " + place());
            if (l.alpha(t) > 0)
                found.at_most(std::abs(added + std::pow(l.alpha(t) / l.alpha(s), 2) * l.sigma2(s) - l.sigma2(t)) /
                                  std::max(1.0, l.sigma2(t)),
                              1e-12, "σ²_t of q(x_t | x_s) q(x_s | x_0) is off by |Δ| " + place());
        };
        for (const double t : real_times(l))
            for (const double share : {0.0, 0.5, 0.9, 0.999}) step(t, (t + 1) * share - 1);
        for (double t = 0; t <= l.last(); ++t) {
            step(t, t - 1);
            if (t > 1) step(t, std::floor(t / 2));
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
        found.expect(l.time(-infinity) == l.last() && l.time(l.log_snr(l.last())) == l.last() && l.time(infinity) == -1,
                     "the ends of log-SNR are not its ends");
        found.expect(l.time_of_ratio(infinity) == l.last() && l.time_of_ratio(0) == -1,
                     "the ends of σ/α are not its ends");
    });
}

/// A slope by differences of order four, and how far it may be off: as far as it is from that of steps half as long.
struct Slope {
    double value, error;
};
template <class Of>
Slope differences(const Of& of, double t, double h, bool one_sided, double per_t) {
    const auto slope = [&](double h) {
        if (one_sided)
            return (25 * of(t) - 48 * of(t - h) + 36 * of(t - 2 * h) - 16 * of(t - 3 * h) + 3 * of(t - 4 * h)) * per_t /
                   (12 * h);
        return (of(t - 2 * h) - 8 * of(t - h) + 8 * of(t + h) - of(t + 2 * h)) * per_t / (12 * h);
    };
    const double fine = slope(h / 2);
    return {fine, 4 * std::abs(fine - slope(h))};
}

void rates_are_slopes(const Trial& trial, Findings& found) {
    for_steps(trial, found, [&](const NoiseLevels& l) {
        const double T = static_cast<double>(l.steps());
        for (const double t : real_times(l)) {
            // At a whole time a table has two slopes, and its rates are those of the side of less noise.
            const bool corner = !l.continuous() && t == std::floor(t);
            const double room = std::min({1.0, t + 1, corner ? 1.0 : l.last() - t, 1 - (t - std::floor(t))}),
                         below = corner ? 1 : t - std::floor(t);
            const double h = !l.continuous() ? 1e-3 * std::min(room, below)
                             : t == l.last() ? 1e-8 * T  // some fall steeply there
                                             : 1e-3 * std::min(t + 1, l.last() - t);
            const bool one_sided = corner || t == l.last();
            const auto alpha = differences([&](double x) { return l.alpha(x); }, t, h, one_sided, T),
                       sigma = differences([&](double x) { return l.sigma(x); }, t, h, one_sided, T);
            const auto rates = l.rates(t);
            const auto compare = [&](double rate, const Slope& slope, const char* what) {
                found.at_most(
                    std::abs(rate - slope.value), 1e-5 * std::abs(slope.value) + 1e-6 + slope.error,
                    fmt::format("{} = {:.6g} against differences, {:.6g}, at t = {}: |Δ|", what, rate, slope.value, t));
            };
            compare(rates.alpha, alpha, "dα/du");
            compare(rates.sigma, sigma, "dσ/du");
        }
    });
}

/// log-SNR at each step.
std::vector<double> shown(const Schedule& schedule, std::int64_t steps) {
    std::vector<double> values;
    const auto l = schedule.levels(steps);
    for (double t = 0; t <= l.last(); ++t) values.push_back(l.log_snr(t));
    return values;
}

/// A number of steps that it has levels for, 1000 before others.
std::optional<std::int64_t> some_steps(const Schedule& schedule) {
    for (const std::int64_t T : {1000, 25, 10, 2, 1}) try {
            schedule.levels(T);
            return T;
        } catch (const Error&) {
        }
    return {};
}

void its_function_at_every_time(const Trial& trial, Findings& found) {
    const auto schedule = made(trial);
    const auto* continuous = dynamic_cast<const ContinuousSchedule*>(schedule.get());
    const auto steps = some_steps(*schedule);
    if (!continuous || !steps) return found.not_asked("it is a table");
    const auto l = continuous->levels(*steps);
    found.expect(l.continuous(), "its levels are a table");
    for (std::int64_t i = 1; i <= 4 * *steps; ++i) {
        const double t = static_cast<double>(i) / 4 - 1;
        const auto [alpha, sigma, log_snr] = continuous->level((t + 1) / static_cast<double>(*steps));
        const auto off = [](double a, double b) { return a == b ? 0 : std::abs(a - b) / std::abs(b); };
        found.at_most(std::max(off(l.alpha(t), alpha), off(l.sigma(t), sigma)), 1e-12,
                      fmt::format("|Δ| of α or σ from its function at t = {}, beside them", t));
        found.at_most(l.log_snr(t) == log_snr ? 0 : std::abs(l.log_snr(t) - log_snr) / std::max(1.0, std::abs(log_snr)),
                      1e-12, fmt::format("|Δ| of log-SNR at t = {}", t));
    }
}

void same_twice(const Trial& trial, Findings& found) {
    const auto schedule = made(trial);
    const auto T = some_steps(*schedule);
    if (!T) return found.expect(false, "it has levels for none of 1, 2, 10, 25 and 1000 steps");
    const auto first = shown(*schedule, *T);
    try {
        schedule->levels(*T / 4);
    } catch (const Error&) {
    }
    found.expect(shown(*schedule, *T) == first, "asked again, it has other levels: it remembers what it was asked");
    std::vector<double> a, b;
    std::thread one([&] { a = shown(*schedule, *T); }), two([&] { b = shown(*schedule, *T); });
    one.join();
    two.join();
    found.expect(a == first && b == first, "asked from two threads at once, it has other levels");
    // What float32 tensors see must still be noise: 1 − ᾱ of the first step is not lost.
    const auto l = schedule->levels(*T);
    found.expect(static_cast<float>(l.sigma(0)) > 0 && std::isfinite(static_cast<float>(l.sigma(l.last()))),
                 fmt::format("σ = {} … {} is nothing, or no number, in float32", l.sigma(0), l.sigma(l.last())));
}

}  // namespace

const std::vector<Law> schedule_laws{
    {"α and σ are finite and legal at every time", finite_and_legal},
    {"what has levels for a few steps has them for many", for_many_steps},
    {"data are clean before the first step", clean_before_the_first_step},
    {"noise grows with time, at the steps and between them", noisier_with_time},
    {"its steps fit together: forward, backward, and across several", steps_fit_together},
    {"the time of a noise level is where it has it", found_again_by_noise},
    {"rates are the slopes of α and σ", rates_are_slopes},
    {"its levels are its function, at the steps and between them", its_function_at_every_time},
    {"asked twice, it answers the same", same_twice},
};

}  // namespace dtk::laws
