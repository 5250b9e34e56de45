// Laws of averages of the parameters: how much of the old value stays, and what comes of that.
#include <cmath>

#include <dtk/optimizer.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

std::shared_ptr<Average> made(const Trial& trial) { return trial.make<Average>(trial.benches().front()); }

constexpr std::int64_t many = 1000000;

void keeps_a_share(const Trial& trial, Findings& found) {
    const auto average = made(trial);
    const auto look = [&](std::int64_t k) {
        const double keep = average->keep(k);
        found.expect(keep >= 0 && keep < 1, fmt::format("it keeps {} at step {}", keep, k));
    };
    for (std::int64_t k = 0; k <= 10000; ++k) look(k);
    for (std::int64_t k = 10000; k <= 10000000; k = k * 10 / 9) look(k);
}

void forgets_its_start(const Trial& trial, Findings& found) {
    const auto average = made(trial);
    double of_a_constant = 0, left = 1;
    for (std::int64_t k = 0; k < many; ++k) {
        const double keep = average->keep(k);
        of_a_constant = keep * of_a_constant + (1 - keep);
        left *= keep;
    }
    found.at_most(std::abs(of_a_constant - 1), 0.01,
                  fmt::format("begun at 0, the average of parameters that are 1 is off by |Δ| after {} steps", many));
    found.at_most(left, 0.01, fmt::format("what is left of the start after {} steps", many));
}

/// θ(t) = t^n has the average (γ + 1)/(γ + n + 1)·t^n.
void power_agrees(const Trial& trial, Findings& found) {
    const auto average = made(trial);
    const auto power = average->power();
    if (!power) return found.not_asked("it is no power of the time");
    found.expect(*power > -1, fmt::format("∫ t^γ dt has no end, γ = {}", *power));
    for (const double n : {1.0, 2.0, 5.0}) {
        double value = 0;
        for (std::int64_t k = 0; k < 40000; ++k) {
            const double keep = average->keep(k);
            value = keep * value + (1 - keep) * std::pow(static_cast<double>(k) + 0.5, n);
            if (k + 1 != 10000 && k + 1 != 40000) continue;
            const double exact = (*power + 1) / (*power + n + 1) * std::pow(static_cast<double>(k + 1), n);
            found.at_most(std::abs(value / exact - 1), 2e-3,
                          fmt::format("of θ(t) = t^{} after {} steps it is off by |Δ| from what γ = {:.4g} says", n,
                                      k + 1, *power));
        }
    }
}

Tensor kept(const Average& average, bool backwards = false) {
    const auto all = at::empty({1000}, at::kDouble);
    for (std::int64_t i = 0; i < 1000; ++i) {
        const auto k = backwards ? 999 - i : i;
        all.mutable_data_ptr<double>()[k] = average.keep(k);
    }
    return all;
}

void of_the_step_alone(const Trial& trial, Findings& found) {
    const auto average = made(trial), other = made(trial);
    const auto first = kept(*average);
    found.expect(same_bits(kept(*average, true), first), "asked again and backwards, it answers otherwise");
    found.expect(same_bits(kept(*other, true), first), "another one of it answers otherwise");
    found.expect(average->power() == other->power(), "another one of it has another power");
    found.expect(same_in_threads([&] { return kept(*average); }), "asked by two threads at once, it answers otherwise");
}

}  // namespace

const std::vector<Law> average_laws{
    {"what is kept of the average is in [0, 1) at every step", keeps_a_share},
    {"what is kept is that of the step, whatever was asked before", of_the_step_alone},
    {"it forgets where it started: the average of a constant comes to be the constant", forgets_its_start},
    {"an average by a power of the time is what its power says", power_agrees},
};

}  // namespace dtk::laws
