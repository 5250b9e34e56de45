// How quality goes with cost: which arms differ in steps alone, how fast the error falls, what is worth its cost.
#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "study/convergence.hpp"

namespace dtk {

namespace {

std::vector<std::string> split(const std::string& text, std::string_view between) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (auto end = text.find(between); end != text.npos; end = text.find(between, begin)) {
        parts.push_back(text.substr(begin, end - begin));
        begin = end + between.size();
    }
    parts.push_back(text.substr(begin));
    return parts;
}

/// What all the lists have, in the order of the first.
std::vector<std::string> common(std::vector<std::vector<std::string>> lists) {
    auto shared = lists.front();
    for (const auto& list : lists)
        std::erase_if(shared, [&](const auto& one) { return std::find(list.begin(), list.end(), one) == list.end(); });
    return shared;
}

/// What the arms' names have in common, or else their settings.
std::string name_of(const Study& study, const std::vector<std::size_t>& arms) {
    std::vector<std::vector<std::string>> names, settings;
    for (const auto arm : arms) {
        names.push_back(split(study.arms[arm].name, ", "));
        settings.push_back(study.arms[arm].set);
    }
    auto shared = common(names);
    if (shared.empty())
        for (auto one : common(settings)) {
            std::erase(one, '"');
            const auto use = one.find(".use=");
            shared.push_back(use == one.npos ? one : one.substr(use + 5));
        }
    return shared.empty() ? std::string("all arms") : fmt::format("{}", fmt::join(shared, ", "));
}

/// The exponent k of y ∝ x^k by least squares; NaN where the x are one.
double exponent(const std::vector<double>& x, const std::vector<double>& y) {
    const auto n = static_cast<double>(x.size());
    double mean_x = 0, mean_y = 0, above = 0, below = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        mean_x += std::log(x[i]) / n;
        mean_y += std::log(y[i]) / n;
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        above += (std::log(x[i]) - mean_x) * (std::log(y[i]) - mean_y);
        below += std::pow(std::log(x[i]) - mean_x, 2);
    }
    return below > 0 ? above / below : std::nan("");
}

}  // namespace

const Task& task_of(const Study& study, std::size_t arm) {
    return study.task(
        std::find_if(study.cells.begin(), study.cells.end(), [&](const Cell& cell) { return cell.arm == arm; })->task);
}

std::vector<Group> groups_by(const Study& study, const std::function<std::string(std::size_t arm)>& key) {
    std::vector<Group> all;
    std::vector<std::string> keys;
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        const auto own = key(arm);
        const auto place = static_cast<std::size_t>(std::find(keys.begin(), keys.end(), own) - keys.begin());
        if (place == keys.size()) {
            keys.push_back(own);
            all.emplace_back();
        }
        all[place].arms.push_back(arm);
    }
    for (auto& group : all) group.name = name_of(study, group.arms);
    // Names are there to tell groups apart.
    for (const auto& group : all)
        if (std::count_if(all.begin(), all.end(), [&](const Group& other) { return other.name == group.name; }) > 1) {
            for (auto& one : all) one.name = study.arms[one.arms.front()].name;
            break;
        }
    return all;
}

std::vector<Group> groups_by_steps(const Study& study) {
    return groups_by(study, [&](std::size_t arm) {
        auto root = toml::parse(task_of(study, arm).text);
        if (auto* sampler = root["sampler"].as_table()) sampler->erase("steps");
        return toml_text(root);
    });
}

std::vector<Group> groups_by_training(const Study& study) {
    return groups_by(study, [&](std::size_t arm) {
        const auto& task = task_of(study, arm);
        return task.needs.empty() ? task.id : task.needs;
    });
}

Slope slope_of(const Group& group, const StudyResults& results, const std::string& metric, double level) {
    const auto& found = results.metrics.at(metric);
    Slope slope;
    std::vector<std::size_t> used;
    for (const auto arm : group.arms) {
        const auto& s = found.arms[arm];
        const double most = found.nearest() ? 2 * s.expected_sd : s.expected + 2 * s.expected_sd;
        const bool at_floor = found.less() && s.has_mean() && s.mean.mean <= most;
        (at_floor ? slope.left_out : used).push_back(arm);
    }
    for (std::size_t seed = 0; seed < found.arms.front().compared.size(); ++seed) {
        std::vector<double> x, y;
        for (const auto arm : used) {
            const auto value = found.arms[arm].compared[seed];
            if (!value || !std::isfinite(*value) || !(*value > 0) || !(results.costs[arm].evaluations > 0)) continue;
            x.push_back(results.costs[arm].evaluations);
            y.push_back(*value);
        }
        slope.of_seeds.push_back(exponent(x, y));
    }
    std::vector<double> known;
    std::copy_if(slope.of_seeds.begin(), slope.of_seeds.end(), std::back_inserter(known),
                 [](double value) { return std::isfinite(value); });
    if (known.empty()) return slope;
    slope.estimate = estimate(known, level);
    if (known.size() > 1) slope.standard_error = slope.estimate.sd / std::sqrt(static_cast<double>(known.size()));
    return slope;
}

std::vector<std::size_t> pareto_front(const std::vector<double>& cost, const std::vector<double>& shortfall) {
    std::vector<std::size_t> order, front;
    for (std::size_t i = 0; i < cost.size(); ++i)
        if (std::isfinite(cost[i]) && std::isfinite(shortfall[i])) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::pair(cost[a], shortfall[a]) < std::pair(cost[b], shortfall[b]);
    });
    for (const auto i : order)
        if (front.empty() || shortfall[i] < shortfall[front.back()]) front.push_back(i);
    return front;
}

}  // namespace dtk
