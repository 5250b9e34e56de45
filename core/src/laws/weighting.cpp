// Laws of weightings: how much an error counts at a noise level.
#include <algorithm>
#include <cmath>

#include <dtk/weighting.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

/// A noise level, and how large an error of each type is for one of 1 in x_0.
struct Place {
    double t;
    NoiseLevel level;
    std::vector<double> per_x0;
};

/// Of the bench's process, from just after the data to the last step.
std::vector<Place> places(const Bench& bench) {
    const auto& levels = bench.process().levels();
    const auto* gaussian = dynamic_cast<const GaussianProcess*>(&bench.process());
    const double T = static_cast<double>(levels.steps());
    std::vector<Place> all;
    for (const double u : {1e-9, 1e-4, 0.001, 0.0107, 0.05, 0.1, 0.25, 0.47, 0.5, 0.7503, 0.9, 0.99, 1.0}) {
        if (bench.process().whole_steps() && u * T < 1) continue;
        Place place{bench.process().whole_steps() ? std::floor(u * T) - 1 : u * T - 1, {}, {1}};
        place.level = levels.at(place.t);
        if (gaussian)
            for (const auto* type : {"eps", "score", "v", "velocity", "edm"}) {
                try {
                    gaussian->accept(prediction_type(type));
                    place.per_x0.push_back(error_per_x0(levels, place.t, type, gaussian->data_sd()));
                } catch (const Error&) {  // an error of that type is none of x_0 here
                }
            }
        all.push_back(std::move(place));
    }
    return all;
}

/// Every weight.
Tensor weights(const Weighting& weighting, const std::vector<Place>& at, bool backwards = false) {
    std::vector<double> all;
    for (std::size_t i = 0; i < at.size(); ++i) {
        const auto& place = at[backwards ? at.size() - 1 - i : i];
        for (const double per_x0 : place.per_x0) all.push_back(weighting.weight(place.level, per_x0));
    }
    return at::tensor(all, at::kDouble);
}

void finite_and_not_negative(const Trial& trial, Findings& found) {
    for (const auto& given : trial.benches()) {
        auto benches = std::vector<Bench>{given};
        if (dynamic_cast<const GaussianProcess*>(given.chain.get())) benches.push_back(ends_without_signal(given));
        for (const auto& bench : benches) {
            const auto weighting = trial.make<Weighting>(bench);
            const Within within(found, bench.name);
            double most = 0;
            for (const auto& [t, level, all] : places(bench))
                for (const double per_x0 : all) {
                    const double weight = weighting->weight(level, per_x0);
                    found.expect(std::isfinite(weight) && weight >= 0,
                                 fmt::format("λ = {} at t = {}, α = {:.4g}, σ = {:.4g}, where an error of 1 in x_0 is "
                                             "one of {:.4g}",
                                             weight, t, level.alpha, level.sigma, per_x0));
                    most = std::max(most, weight);
                }
            found.expect(most > 0, "every error counts 0");
        }
    }
}

void of_one_error(const Trial& trial, Findings& found) {
    for (const auto& bench : trial.benches()) {
        const auto weighting = trial.make<Weighting>(bench);
        // λ·‖Δ‖² is a number for each ‖Δx_0‖², or λ is one whatever is compared.
        double of_x0 = 0, of_compared = 0;
        std::string where_x0, where_compared;
        for (const auto& [t, level, all] : places(bench)) {
            const double one = weighting->weight(level, 1);
            for (const double per_x0 : {0.01, 0.3, 7.0, 1000.0}) {
                const double weight = weighting->weight(level, per_x0), size = std::abs(one) + 1e-300;
                const auto place = fmt::format(
                    "; λ is {:.6g} where an error of 1 in x_0 is one of {}, and {:.6g} where "
                    "it is one of 1, at t = {}",
                    weight, per_x0, one, t);
                if (const double off = std::abs(weight * per_x0 - one) / size; off > of_x0)
                    of_x0 = off, where_x0 = place;
                if (const double off = std::abs(weight - one) / size; off > of_compared)
                    of_compared = off, where_compared = place;
            }
        }
        found.at_most(std::min(of_x0, of_compared), 1e-9,
                      of_x0 < of_compared ? "λ·‖Δ‖² for the same error of x_0, relative difference" + where_x0
                                          : "λ whatever is compared, relative difference" + where_compared);
    }
}

void of_the_level_alone(const Trial& trial, Findings& found) {
    for (const auto& bench : trial.benches()) {
        const auto weighting = trial.make<Weighting>(bench), other = trial.make<Weighting>(bench);
        const auto all = places(bench);
        const auto first = weights(*weighting, all);
        weights(*weighting, all, true);
        found.expect(same_bits(weights(*weighting, all), first), "asked again, it answers otherwise");
        found.expect(same_bits(weights(*other, all, true), weights(*weighting, all, true)),
                     "another one of it, asked in another order, answers otherwise");
        found.expect(same_in_threads([&] { return weights(*weighting, all); }),
                     "asked by two threads at once, it answers otherwise");
    }
}

}  // namespace

const std::vector<Law> weighting_laws{
    {"λ is finite and not negative at every noise level, and not always 0", finite_and_not_negative},
    {"λ weighs the error of x_0, whatever is compared, or what is compared itself", of_one_error},
    {"λ is that of the noise level, whatever was asked before", of_the_level_alone},
};

}  // namespace dtk::laws
