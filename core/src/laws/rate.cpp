// Laws of learning rates: a share of the optimiser's own at every step, and nothing else.
#include <algorithm>
#include <cmath>

#include <dtk/rate.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

constexpr std::int64_t lengths[] = {1, 2, 3, 10, 1000, 1000000};

/// Steps of a training of that many: all of a short one.
std::vector<std::int64_t> some_steps(std::int64_t steps) {
    std::vector<std::int64_t> some;
    for (std::int64_t k = 0; k < steps; k += std::max<std::int64_t>(1, steps / 1000)) some.push_back(k);
    if (some.back() != steps - 1) some.push_back(steps - 1);
    return some;
}

Tensor shares(const Rate& rate, std::int64_t steps, bool backwards = false) {
    const auto all = some_steps(steps);
    const auto answer = at::empty({static_cast<std::int64_t>(all.size())}, at::kDouble);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto at = backwards ? all.size() - 1 - i : i;
        answer.mutable_data_ptr<double>()[at] = rate.share(all[at], steps);
    }
    return answer;
}

void a_share(const Trial& trial, Findings& found) {
    const auto rate = trial.make<Rate>(trial.benches().front());
    for (const auto steps : lengths) {
        double most = 0;
        for (const auto k : some_steps(steps)) {
            const double share = rate->share(k, steps);
            found.expect(std::isfinite(share) && share >= 0 && share <= 1,
                         fmt::format("the share is {} at step {} of {}", share, k, steps));
            most = std::max(most, share);
        }
        found.expect(most > 0, fmt::format("it is 0 at every step of {}", steps));
    }
}

void of_the_step_alone(const Trial& trial, Findings& found) {
    const auto rate = trial.make<Rate>(trial.benches().front()), other = trial.make<Rate>(trial.benches().front());
    for (const auto steps : lengths) {
        const Within within(found, fmt::format("of {} steps", steps));
        const auto first = shares(*rate, steps);
        shares(*rate, steps + 7);
        found.expect(same_bits(shares(*rate, steps, true), first), "asked again and backwards, it answers otherwise");
        found.expect(same_bits(shares(*other, steps, true), first), "another one of it answers otherwise");
        found.expect(same_in_threads([&] { return shares(*rate, steps); }),
                     "asked by two threads at once, it answers otherwise");
    }
}

}  // namespace

const std::vector<Law> rate_laws{
    {"the share of the learning rate is in [0, 1] at every step, and not always 0", a_share},
    {"the share is that of the step, whatever was asked before", of_the_step_alone},
};

}  // namespace dtk::laws
