// How quality goes with cost: which arms differ in steps alone, how fast the error falls, what is worth its cost.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "study/report.hpp"

namespace dtk {

namespace {

std::vector<std::string> split(const std::string& text, std::string_view between) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (auto end = text.find(between); end != text.npos; end = text.find(between, begin))
        parts.push_back(text.substr(begin, end - begin)), begin = end + between.size();
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
    for (const auto arm : arms)
        names.push_back(split(study.arms[arm].name, ", ")), settings.push_back(study.arms[arm].set);
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
    for (std::size_t i = 0; i < x.size(); ++i) mean_x += std::log(x[i]) / n, mean_y += std::log(y[i]) / n;
    for (std::size_t i = 0; i < x.size(); ++i)
        above += (std::log(x[i]) - mean_x) * (std::log(y[i]) - mean_y), below += std::pow(std::log(x[i]) - mean_x, 2);
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
        if (place == keys.size()) keys.push_back(own), all.emplace_back();
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

Slope slope_of(const Group& group, const Findings& findings, const std::string& metric, double level) {
    const auto& scores = findings.scores.at(metric);
    Slope slope;
    slope.standard_error = std::nan("");
    std::vector<std::size_t> used;
    for (const auto arm : group.arms) {
        const auto& s = scores[arm];
        const double most = s.two_sided ? 2 * s.expected_sd : s.expected + 2 * s.expected_sd;
        (s.distance.n > 0 && s.distance.mean <= most ? slope.left_out : used).push_back(arm);
    }
    const auto seeds = scores[group.arms.front()].distances.size();
    for (std::size_t seed = 0; seed < seeds; ++seed) {
        std::vector<double> x, y;
        for (const auto arm : used)
            if (scores[arm].distances[seed] > 0 && findings.costs[arm].evaluations > 0)
                x.push_back(findings.costs[arm].evaluations), y.push_back(scores[arm].distances[seed]);
        slope.of_seeds.push_back(exponent(x, y));
    }
    if (std::none_of(slope.of_seeds.begin(), slope.of_seeds.end(), [](double value) { return std::isfinite(value); }))
        return slope;
    slope.estimate = estimate(slope.of_seeds, level);
    if (const auto n = static_cast<double>(slope.estimate.n); n > 1) {
        double sum = 0;
        for (const double one : slope.of_seeds)
            if (std::isfinite(one)) sum += std::pow(one - slope.estimate.mean, 2);
        slope.standard_error = std::sqrt(sum / (n - 1) / n);
    }
    return slope;
}

std::vector<std::size_t> pareto_front(const std::vector<double>& cost, const std::vector<double>& distance) {
    std::vector<std::size_t> order, front;
    for (std::size_t i = 0; i < cost.size(); ++i)
        if (std::isfinite(cost[i]) && std::isfinite(distance[i])) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::pair(cost[a], distance[a]) < std::pair(cost[b], distance[b]);
    });
    for (const auto i : order)
        if (front.empty() || distance[i] < distance[front.back()]) front.push_back(i);
    return front;
}

}  // namespace dtk
