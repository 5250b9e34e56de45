#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/better.hpp>

#include "base/json.hpp"
#include "study/report.hpp"

namespace dtk {

using json = nlohmann::json;

namespace {

const double unknown = std::nan("");

double number(const json& object, const char* key) {
    const auto at = object.find(key);
    return at != object.end() ? number_of(*at).value_or(unknown) : unknown;
}

double mean(const std::vector<double>& values) {
    double sum = 0, n = 0;
    for (const double value : values)
        if (std::isfinite(value)) sum += value, n += 1;
    return n > 0 ? sum / n : unknown;
}

/// The steps and the batch of the training that a task stands on.
double images_of(const Study& study, const Task& task) {
    const auto& training = task.needs.empty() ? task : study.task(task.needs);
    const auto root = toml::parse(training.text);
    return root["train"]["steps"].value_or(0.0) * root["train"]["batch"].value_or(0.0);
}

void add_costs(const Study& study, const std::filesystem::path& folder, bool accept_rebuilt, Findings& found) {
    std::vector<std::vector<Cost>> all(study.arms.size());
    for (const auto& cell : study.cells) {
        const auto& task = study.task(cell.task);
        const auto result = result_of(study, task, folder, accept_rebuilt);
        if (!result) continue;
        const auto trained =
            task.needs.empty() ? result : result_of(study, study.task(task.needs), folder, accept_rebuilt);
        const auto seconds = result->value("seconds", json::object());
        all[cell.arm].push_back({images_of(study, task), number(*result, "network_evaluations"),
                                 trained ? number(trained->value("seconds", json::object()), "train") : unknown,
                                 number(seconds, "sample"), number(*result, "parameters")});
    }
    for (const auto& costs : all) {
        const auto of = [&](double Cost::*part) {
            std::vector<double> values;
            for (const auto& cost : costs) values.push_back(cost.*part);
            return mean(values);
        };
        found.costs.push_back({of(&Cost::images), of(&Cost::evaluations), of(&Cost::train_seconds),
                               of(&Cost::sample_seconds), of(&Cost::parameters)});
    }
    const auto differ = [&](double Cost::*part, const char* what) {
        for (const auto& cost : found.costs)
            if (cost.*part != found.costs[study.baseline].*part &&
                std::isfinite(cost.*part + found.costs[study.baseline].*part)) {
                found.warnings.push_back(fmt::format("the arms are not of equal cost: they differ in {}", what));
                return;
            }
    };
    differ(&Cost::images, "the number of training examples seen");
    differ(&Cost::parameters, "the number of parameters");
    differ(&Cost::evaluations, "network evaluations for each sample");
}

}  // namespace

Findings findings_of(const Study& study, const std::filesystem::path& folder, bool accept_rebuilt) {
    Findings found;
    const auto seed_number = [&](std::int64_t seed) {
        return static_cast<std::size_t>(std::find(study.seeds.begin(), study.seeds.end(), seed) - study.seeds.begin());
    };
    const std::vector<double> none(study.seeds.size(), unknown);
    for (const auto& metric : study.metrics)
        found.scores[metric].assign(study.arms.size(), {none, none, {}, {}, {}, unknown, unknown});
    std::map<std::string, std::vector<std::vector<double>>> expected, expected_sd;
    for (const auto& metric : study.metrics)
        expected[metric].resize(study.arms.size()), expected_sd[metric].resize(study.arms.size());
    for (std::size_t i = 0; i < study.cells.size(); ++i) {
        const auto& cell = study.cells[i];
        const auto& task = study.task(cell.task);
        const auto result = result_of(study, task, folder, accept_rebuilt);
        if (!result) {
            if (const auto reason = failure_of(study, task, folder); !reason.empty())
                found.failures.emplace_back(i, reason);
            else
                ++found.missing;
            continue;
        }
        for (const auto& measured : result->value("metrics", json::array())) {
            const auto name = measured.value("metric", "");
            const auto scores = found.scores.find(name);
            if (scores == found.scores.end()) continue;
            auto& score = scores->second[cell.arm];
            const auto better = better_of(measured.value("better", ""));
            const double value = number(measured, "value");
            score.values[seed_number(cell.seed)] = value;
            score.distances[seed_number(cell.seed)] = better == Better::nearest
                                                          ? std::abs(value - number(measured, "expected"))
                                                      : better == Better::more ? -value
                                                                               : value;
            expected[name][cell.arm].push_back(number(measured, "expected")),
                expected_sd[name][cell.arm].push_back(number(measured, "expected_sd"));
            score.two_sided = better == Better::nearest;
            found.notes.try_emplace(name, measured.value("note", ""));
        }
    }
    for (auto& [metric, scores] : found.scores) {
        std::vector<std::vector<double>> all, others;
        for (std::size_t arm = 0; arm < scores.size(); ++arm) {
            scores[arm].expected = mean(expected[metric][arm]),
            scores[arm].expected_sd = mean(expected_sd[metric][arm]);
            all.push_back(scores[arm].distances);
            if (arm != study.baseline) others.push_back(scores[arm].distances);
            if (std::any_of(all.back().begin(), all.back().end(), [](double value) { return std::isfinite(value); }))
                scores[arm].distance = estimate(all.back(), study.level);
        }
        const auto difference = differences(all[study.baseline], others, study.level);
        const auto rank = ranks(all, study.level);
        for (std::size_t arm = 0, other = 0; arm < scores.size(); ++arm) {
            scores[arm].rank = rank[arm];
            if (arm == study.baseline) continue;
            scores[arm].difference = difference[other++];
            if (scores[arm].difference.skewed)
                found.warnings.push_back(
                    fmt::format("the differences of `{}` in {} are visibly skewed: their interval is too hopeful",
                                study.arms[arm].name, metric));
        }
    }
    if (study.seeds.size() == 1)
        found.warnings.push_back("one seed: nothing is known of what another would give, and there are no intervals");
    add_costs(study, folder, accept_rebuilt, found);
    return found;
}

}  // namespace dtk
