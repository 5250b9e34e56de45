// A search over many arms: successive halving, Jamieson & Talwalkar, "Non-stochastic best arm identification and
// hyperparameter optimization", 2016.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "study/results.hpp"

namespace dtk {

std::int64_t Search::steps_of(std::size_t rung) const {
    const auto share = std::pow(static_cast<double>(eta), static_cast<double>(rungs - 1 - rung));
    return std::llround(static_cast<double>(steps) / share);
}

std::string Search::text() const {
    std::string text;
    auto others = arms.size() - 1;
    double spent = 0;
    for (std::size_t rung = 0; rung < rungs; ++rung) {
        // A rung goes on where the last one ended.
        const auto more = steps_of(rung) - (rung > 0 ? steps_of(rung - 1) : 0);
        spent += static_cast<double>((others + 1) * seeds.size()) * static_cast<double>(more);
        text += fmt::format("{}{} arms for {} steps", rung ? ", then " : "", others + 1, steps_of(rung));
        others = kept_of(others);
    }
    const auto all = static_cast<double>(arms.size() * seeds.size()) * static_cast<double>(steps);
    return fmt::format(
        "{}; the winner and the baseline with {} fresh seed{}. The search takes {:.0f} % of the steps "
        "that all arms would.",
        text, fresh.size(), fresh.size() == 1 ? "" : "s", 100 * spent / all);
}

Rung rung_of(const Study& study, const StudyResults& results) {
    const auto& search = *study.search;
    const auto& metric = results.metrics.at(study.metrics.front());
    Rung rung{.steps = search.steps_of(search.done.size()), .arms = {}, .means = {}, .kept = {}};
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        rung.arms.push_back(study.arms[arm].name);
        rung.means.push_back(metric.arms[arm].has_mean() ? metric.arms[arm].mean.mean : NAN);
    }
    const bool is_last = search.done.size() + 1 == search.rungs;
    const auto kept = is_last ? 1 : search.kept_of(study.arms.size() - 1);
    for (const auto arm : metric.order())
        if (arm != study.baseline && rung.kept.size() < kept) rung.kept.push_back(study.arms[arm].name);
    return rung;
}

}  // namespace dtk
