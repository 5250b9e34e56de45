// Laws of grids: which times a sampler visits.
#include <algorithm>
#include <cmath>
#include <map>
#include <thread>

#include <dtk/grid.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

constexpr std::int64_t numbers_of_times[] = {1, 2, 3, 10, 100};

/// Noise levels of every make: tables and functions, that preserve the variance and that explode, with and without
/// signal at their end.
std::map<std::string, NoiseLevels> levels_of(std::int64_t T) {
    std::vector<double> betas, to_nothing;
    for (std::int64_t t = 1; t <= T; ++t) {
        betas.push_back(
            std::min(0.9, (0.1 + 20.0 * static_cast<double>(t) / static_cast<double>(T)) / static_cast<double>(T)));
        to_nothing.push_back(1 / static_cast<double>(T - t + 1));
    }
    const auto of = [&](auto level) { return NoiseLevels::from_function(T, level); };
    return {{"a table of β", NoiseLevels::from_betas(betas)},
            {"a table of β to no signal", NoiseLevels::from_betas(to_nothing)},
            {"log-SNR from 10 to −6", of([](double u) { return variance_preserving(10 - 16 * u); })},
            {"the straight path", of([](double u) { return noise_level(1 - u, u); })},
            {"noise that explodes", of([](double u) { return noise_level(1, 0.01 * std::pow(1e4, u)); })}};
}

/// look(levels, n, times) for every make of levels, few and many steps, and numbers of times, where the grid has such.
template <class Look>
void for_times(const Trial& trial, Findings& found, const Look& look) {
    const auto grid = trial.make<Grid>(trial.benches().front());
    for (const std::int64_t T : {1, 2, 3, 7, 10, 1000})
        for (const auto& [name, levels] : levels_of(T))
            for (const auto n : numbers_of_times) {
                const Within within(found, fmt::format("{} times of {} steps of {}", n, T, name));
                try {
                    look(*grid, levels, n, grid->times(levels, n));
                } catch (const Error& error) {
                    found.expect(!error.help().empty() && std::string(error.what()).size() > 20,
                                 fmt::format("it refuses without a cure: {}", error.what()));
                }
            }
}

void as_many_as_asked(const Trial& trial, Findings& found) {
    bool any = false;
    for_times(trial, found, [&](const Grid&, const NoiseLevels&, std::int64_t n, const std::vector<double>& times) {
        any = true;
        found.expect(static_cast<std::int64_t>(times.size()) == n, fmt::format("it has {} times", times.size()));
    });
    found.expect(any, "it has times for no levels and no number of them");
}

/// There are no more of them than steps, so that a grid of these repeats itself beyond, which whoever asks refuses.
bool of_whole_steps(const std::vector<double>& times) {
    return std::ranges::all_of(times, [](double t) { return t == std::floor(t); });
}

void falling_inside(const Trial& trial, Findings& found) {
    for_times(trial, found, [&](const Grid&, const NoiseLevels& l, std::int64_t n, const std::vector<double>& times) {
        if (n > l.steps() && of_whole_steps(times)) return;
        for (std::size_t i = 0; i < times.size(); ++i) {
            found.expect(times[i] > -1 && times[i] <= l.last(),
                         fmt::format("time {} is {}, outside −1 < t ≤ {}", i, times[i], l.last()));
            found.expect(i == 0 || times[i] < times[i - 1], fmt::format("times {} and {} are {} and {}, and must fall",
                                                                        i - 1, i, times[i > 0 ? i - 1 : 0], times[i]));
        }
    });
    // Where rounding of a stride could lose a time or add one. Between steps there is less that it could lose.
    const auto grid = trial.make<Grid>(trial.benches().front());
    for (const std::int64_t T : {7, 10, 1000}) {
        const auto l = levels_of(T).at("a table of β");
        bool whole = true;
        for (std::int64_t n = 1; n <= T; ++n) {
            if (!whole && n > 50 && n % 97 != 0) continue;
            std::vector<double> times;
            try {
                times = grid->times(l, n);
            } catch (const Error&) {
                continue;
            }
            whole = whole && of_whole_steps(times);
            const Within within(found, fmt::format("{} times of {} steps", n, T));
            found.expect(static_cast<std::int64_t>(times.size()) == n, fmt::format("it has {} times", times.size()));
            for (std::size_t i = 0; i < times.size(); ++i)
                found.expect(times[i] > -1 && times[i] <= l.last() && (i == 0 || times[i] < times[i - 1]),
                             fmt::format("time {} is {}, outside −1 < t ≤ {} or not below the one before", i, times[i],
                                         l.last()));
        }
    }
}

void begins_with_noise(const Trial& trial, Findings& found) {
    std::map<std::int64_t, double> first;
    const auto grid = trial.make<Grid>(trial.benches().front());
    const auto l = levels_of(1000).at("log-SNR from 10 to −6");
    for (const auto n : numbers_of_times) try {
            const auto times = grid->times(l, n);
            if (times.empty()) return found.expect(false, "it has no times");
            first[n] = times.front();
            found.expect(n == 1 || l.ratio(times.back()) < l.ratio(times.front()), "noise does not fall along it");
        } catch (const Error&) {
        }
    // The sampler starts from the law of the noisy end, whatever the number of steps.
    for (const auto& [n, t] : first)
        found.expect(t >= l.last() / 2,
                     fmt::format("it begins at t = {} with {} times, far from the noisy end, {}", t, n, l.last()));
    if (first.empty()) found.not_asked("it has none of those numbers of times");
}

void pure(const Trial& trial, Findings& found) {
    for_times(trial, found,
              [&](const Grid& grid, const NoiseLevels& l, std::int64_t n, const std::vector<double>& times) {
                  found.expect(grid.times(l, n) == times, "asked again, it has other times");
              });
    const auto grid = trial.make<Grid>(trial.benches().front());
    const auto all = [&] {
        std::vector<std::vector<double>> every;
        for (const auto& [_, l] : levels_of(1000))
            for (const auto n : numbers_of_times) try {
                    every.push_back(grid->times(l, n));
                } catch (const Error&) {
                    every.emplace_back();
                }
        return every;
    };
    const auto alone = all();
    std::vector<std::vector<double>> a, b;
    std::thread one([&] { a = all(); }), two([&] { b = all(); });
    one.join();
    two.join();
    found.expect(a == alone && b == alone, "asked from two threads at once, it has other times");
}

}  // namespace

const std::vector<Law> grid_laws{
    {"it has exactly as many times as asked, or says why not", as_many_as_asked},
    {"its times fall, inside the process", falling_inside},
    {"it begins where there is noise", begins_with_noise},
    {"asked twice, it answers the same", pure},
};

}  // namespace dtk::laws
