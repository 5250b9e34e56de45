// Where the scatter of a study comes from, and what each axis is worth.
#include "study/components.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <fmt/format.h>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/fisher_f.hpp>

namespace dtk {

namespace {

double quantile_of_chi2(double freedom, double share) {
    return boost::math::quantile(boost::math::chi_squared(freedom), share);
}
double quantile_of_f(double above, double below, double share) {
    return boost::math::quantile(boost::math::fisher_f(above, below), share);
}

/// (above − below)/each, above and below two mean squares with their degrees of freedom: Williams, "A confidence
/// interval for variance components", 1962.
VarianceComponent component(double above, double freedom, double below, double freedom_below, double each,
                            double level) {
    const double tail = (1 - level) / 2;
    const auto bound = [&](double share) {
        const double f = quantile_of_f(freedom, freedom_below, share);
        return std::max(0.0, freedom * (above - below * f) / (each * quantile_of_chi2(freedom, share)));
    };
    return {std::max(0.0, (above - below) / each), {bound(1 - tail), bound(tail)}};
}

/// One mean for each of so many equal rows.
std::vector<double> means_of_rows(const std::vector<double>& cells, std::size_t rows) {
    const auto each = cells.size() / rows;
    std::vector<double> means(rows, 0.0);
    for (std::size_t i = 0; i < rows * each; ++i) means[i / each] += cells[i] / static_cast<double>(each);
    return means;
}

double variance_of(const std::vector<double>& values) {
    const auto n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double sum = 0;
    for (const double value : values) sum += std::pow(value - mean, 2);
    return sum / (n - 1);
}

/// The arm with those levels, if it is there.
std::optional<std::size_t> arm_with(const Study& study, const std::vector<std::size_t>& levels) {
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
        if (study.arms[arm].levels == levels) return arm;
    return std::nullopt;
}

/// By seed, the mean of contrasts of arms; unset where an arm has not run.
Values mean_contrast(const MetricResults& metric, const std::vector<std::vector<std::pair<std::size_t, double>>>& all) {
    const auto seeds = metric.arms.front().compared.size();
    Values values(seeds);
    for (std::size_t seed = 0; seed < seeds; ++seed) {
        double sum = 0;
        bool known = true;
        for (const auto& contrast : all)
            for (const auto& [arm, weight] : contrast) {
                const auto& value = metric.arms[arm].compared[seed];
                known = known && value;
                sum += weight * value.value_or(0);
            }
        // Where arms without a number stand on both sides, nothing is known of their difference.
        if (known && !std::isnan(sum)) values[seed] = sum / static_cast<double>(all.size());
    }
    return values;
}

template <class Effects>
void test_all(Effects& effects, const std::vector<Values>& contrasts, double level) {
    std::vector<Difference*> family;
    for (std::size_t i = 0; i < effects.size(); ++i) {
        const Values zero(contrasts[i].size(), 0.0);
        effects[i].difference = difference(zero, contrasts[i], {level, effects.size()});
        family.push_back(&effects[i].difference);
    }
    adjust(family);
}

}  // namespace

std::optional<Components> components(const std::vector<double>& cells, std::size_t trainings, double level) {
    if (trainings < 2 || cells.size() % trainings != 0) return std::nullopt;
    const auto draws = cells.size() / trainings;
    if (draws < 2 || !std::all_of(cells.begin(), cells.end(), [](double value) { return std::isfinite(value); }))
        return std::nullopt;
    const auto a = static_cast<double>(trainings), b = static_cast<double>(draws);

    // The means of rows, columns and all, and the mean squares of the analysis of variance.
    std::vector<double> row(trainings, 0.0), column(draws, 0.0);
    for (std::size_t i = 0; i < cells.size(); ++i) {
        row[i / draws] += cells[i] / b;
        column[i % draws] += cells[i] / a;
    }
    const double all = std::accumulate(row.begin(), row.end(), 0.0) / a;
    double of_rows = 0, of_columns = 0, of_rest = 0;
    for (const double mean : row) of_rows += b * std::pow(mean - all, 2) / (a - 1);
    for (const double mean : column) of_columns += a * std::pow(mean - all, 2) / (b - 1);
    const double freedom = (a - 1) * (b - 1);
    for (std::size_t i = 0; i < cells.size(); ++i)
        of_rest += std::pow(cells[i] - row[i / draws] - column[i % draws] + all, 2) / freedom;

    const double tail = (1 - level) / 2;
    return Components{trainings,
                      draws,
                      component(of_rows, a - 1, of_rest, freedom, b, level),
                      component(of_columns, b - 1, of_rest, freedom, a, level),
                      {of_rest,
                       {freedom * of_rest / quantile_of_chi2(freedom, 1 - tail),
                        freedom * of_rest / quantile_of_chi2(freedom, tail)}}};
}

std::vector<StreamScatter> scatter_by_stream(const Study& study, const MetricResults& metric, std::size_t arm,
                                             std::optional<std::size_t> against) {
    std::vector<std::string> streams{""};
    if (study.one_at_a_time) streams.insert(streams.end(), study.vary.begin(), study.vary.end());
    const auto cells_of = [&](std::size_t which, const std::string& stream) {
        const auto& score = metric.arms[which];
        std::vector<double> values;
        for (const auto& cell : stream.empty() ? score.cells : score.of_stream.at(stream))
            values.push_back(cell.state == CellScore::State::finite ? cell.compared : NAN);
        return values;
    };
    const auto trainings = study.seeds.size();
    std::vector<StreamScatter> all;
    for (const auto& stream : streams) {
        auto cells = cells_of(arm, stream);
        std::optional<double> pairing;
        if (against) {
            const auto other = cells_of(*against, stream);
            const double unpaired =
                variance_of(means_of_rows(cells, trainings)) + variance_of(means_of_rows(other, trainings));
            for (std::size_t i = 0; i < cells.size(); ++i) cells[i] -= other[i];
            const double paired = variance_of(means_of_rows(cells, trainings));
            if (paired > 0) pairing = unpaired / paired;
        }
        if (trainings < 2 ||
            !std::all_of(cells.begin(), cells.end(), [](double value) { return std::isfinite(value); }))
            continue;
        StreamScatter one{stream, trainings, {}, pairing};
        if (const auto both = components(cells, trainings, study.level)) {
            one.training = both->training;
        } else {
            const double sd = std::sqrt(variance_of(cells));
            const auto [low, high] = sd_interval(sd, trainings, study.level);
            one.training = {sd * sd, {low * low, high * high}};
        }
        all.push_back(one);
    }
    return all;
}

Factorial factorial_of(const Study& study, const MetricResults& metric) {
    Factorial found;
    if (study.axes.size() < 2) return found;
    const auto& base = study.arms[study.baseline].levels;
    std::vector<Values> of_effects, of_interactions;
    const auto moved = [](std::vector<std::size_t> levels, std::size_t axis, std::size_t level) {
        levels[axis] = level;
        return levels;
    };
    for (std::size_t axis = 0; axis < study.axes.size(); ++axis)
        for (std::size_t level = 0; level < study.axes[axis].values.size(); ++level) {
            if (level == base[axis]) continue;
            const auto text = [&](std::size_t which, std::size_t value) {
                return fmt::format("{}: {} against {}", study.axes[which].key, study.axes[which].values[value],
                                   study.axes[which].values[base[which]]);
            };
            // Arms with this value, each beside the one that differs from it in nothing else.
            std::vector<std::vector<std::pair<std::size_t, double>>> pairs;
            for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
                if (study.arms[arm].levels[axis] == level)
                    if (const auto other = arm_with(study, moved(study.arms[arm].levels, axis, base[axis])))
                        pairs.push_back({{arm, 1}, {*other, -1}});
            if (!pairs.empty()) {
                found.effects.push_back({study.axes[axis].key,
                                         study.axes[axis].values[level],
                                         study.axes[axis].values[base[axis]],
                                         pairs.size(),
                                         {}});
                of_effects.push_back(mean_contrast(metric, pairs));
            }
            // And how that changes with the value of a later axis.
            for (auto second = axis + 1; second < study.axes.size(); ++second)
                for (std::size_t value = 0; value < study.axes[second].values.size(); ++value) {
                    if (value == base[second]) continue;
                    std::vector<std::vector<std::pair<std::size_t, double>>> fours;
                    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
                        const auto& levels = study.arms[arm].levels;
                        if (levels[axis] != level || levels[second] != value) continue;
                        const auto one = arm_with(study, moved(levels, axis, base[axis])),
                                   two = arm_with(study, moved(levels, second, base[second])),
                                   both = arm_with(study, moved(moved(levels, axis, base[axis]), second, base[second]));
                        if (one && two && both) fours.push_back({{arm, 1}, {*one, -1}, {*two, -1}, {*both, 1}});
                    }
                    if (fours.empty()) continue;
                    found.interactions.push_back({text(axis, level), text(second, value), fours.size(), {}});
                    of_interactions.push_back(mean_contrast(metric, fours));
                }
        }
    test_all(found.effects, of_effects, metric.family.level);
    test_all(found.interactions, of_interactions, metric.family.level);
    return found;
}

std::vector<std::size_t> best_arms(const MetricResults& metric, double level) {
    std::vector<std::size_t> best;
    const auto count = metric.arms.size();
    for (std::size_t arm = 0; arm < count; ++arm) {
        if (metric.arms[arm].mean.n == 0) continue;
        // One-sided, against each other arm: Bonferroni over those it could lose to.
        const Family family{1 - 2 * (1 - level), std::max<std::size_t>(1, count - 1)};
        const bool loses = [&] {
            for (std::size_t other = 0; other < count; ++other) {
                if (other == arm) continue;
                const auto d = difference(metric.arms[other].compared, metric.arms[arm].compared, family);
                if (d.exact && metric.shortfall(d.estimate.mean) > 0) return true;
                if (d.simultaneous &&
                    metric.shortfall(metric.less() ? d.simultaneous->first : d.simultaneous->second) > 0)
                    return true;
                if (!d.exact && !d.simultaneous && d.p && *d.p <= family.error() && metric.shortfall(d.direction) > 0)
                    return true;
            }
            return false;
        }();
        if (!loses) best.push_back(arm);
    }
    return best;
}

SeedsNeeded seeds_needed_by(const Difference& pilot, double difference, double error, double level, double chance) {
    const double sd = pilot.estimate.sd;
    if (pilot.estimate.n < 2 || !(sd > 0)) return {};
    const auto [low, high] = sd_interval(sd, pilot.estimate.n, level);
    return {seeds_needed(difference, sd, error, chance), seeds_needed(difference, low, error, chance),
            seeds_needed(difference, high, error, chance)};
}

}  // namespace dtk
