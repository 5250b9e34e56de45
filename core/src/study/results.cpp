// Reads what the cells of a study measured, and compares the arms.
#include "study/results.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/json.hpp"
#include "base/words.hpp"
#include "study/kept.hpp"
#include "study/run_store.hpp"

namespace dtk {

using json = nlohmann::json;
using State = CellScore::State;

namespace {

/// Of the numbers that are known.
double mean_of_known(const std::vector<double>& values) {
    double sum = 0, n = 0;
    for (const double value : values) {
        if (!std::isfinite(value)) continue;
        sum += value;
        n += 1;
    }
    return n > 0 ? sum / n : NAN;
}

/// "1%" of the baseline's mean, or a number; 0 where nothing is said.
double smallest_of(const Study& study, const Score& baseline) {
    if (study.smallest.value == 0) return 0;
    if (!study.smallest.relative) return study.smallest.value;
    return baseline.has_mean() ? study.smallest.value * std::abs(baseline.mean.mean) : 0;
}

/// The steps and the batch of the training that a task stands on.
double images_of(const Study& study, const Task& task) {
    const auto& training = task.needs.empty() ? task : study.task(task.needs);
    const auto root = toml::parse(training.text);
    return root["train"]["steps"].value_or(0.0) * root["train"]["batch"].value_or(0.0);
}

/// Cards of one metric, by arm: what the numbers were measured under, but for what sampling costs.
using Cards = std::vector<std::map<std::string, std::set<std::string>>>;

class ResultsReader {
 public:
    ResultsReader(const Study& study, const std::filesystem::path& folder, bool accept_rebuilt)
        : study_(study), folder_(folder), accept_rebuilt_(accept_rebuilt), costs_(study.arms.size()) {
        for (const auto& metric : study.metrics) {
            auto& found = results_.metrics[metric];
            found.name = metric;
            found.arms.resize(study.arms.size());
            for (auto& arm : found.arms) {
                arm.cells.resize(study.cells_of_arm());
                for (const auto& stream : study.one_at_a_time ? study.vary : std::vector<std::string>{})
                    arm.of_stream[stream].resize(study.cells_of_arm());
            }
            cards_[metric].resize(study.arms.size());
        }
        expected_.resize(study.arms.size());
    }

    StudyResults read() {
        for (std::size_t i = 0; i < study_.cells.size(); ++i) read_cell(i);
        const auto afterwards = chosen_afterwards(folder_);
        results_.warnings = afterwards;
        const bool is_search = study_.search && !study_.search->is_confirming();
        if (is_search)
            results_.warnings.push_back(fmt::format(
                "the search is at rung {} of {}, {} steps: what looks best here was chosen for looking best, "
                "and nothing is confirmed yet",
                study_.search->done.size() + 1, study_.search->rungs,
                study_.search->steps_of(study_.search->done.size())));
        bool first = true;
        for (const auto& metric : study_.metrics) {
            auto& found = results_.metrics.at(metric);
            found.confirmatory = afterwards.empty() && !is_search && (first || study_.confirm == "all");
            first = false;
            settle(found);
        }
        compare();
        for (const auto& metric : study_.metrics) warn(results_.metrics.at(metric));
        if (study_.seeds.size() == 1)
            results_.warnings.push_back(
                "one seed: nothing is known of what another would give, and there are no intervals");
        warn_of_tuning();
        settle_costs();
        return std::move(results_);
    }

 private:
    void read_cell(std::size_t number) {
        const auto& cell = study_.cells[number];
        if (!cell.tuned.empty() && !cell.chosen) {  // nobody knows yet which task is meant
            ++results_.missing;
            return;
        }
        const auto& task = study_.task(cell.task);
        const auto result = result_of(task, folder_, accept_rebuilt_);
        const auto score_in = [&](MetricResults& metric) -> CellScore& {
            auto& arm = metric.arms[cell.arm];
            return (cell.stream.empty() ? arm.cells : arm.of_stream.at(cell.stream))[study_.place_of(cell)];
        };
        if (!result) {
            const auto reason = failure_of(study_, task, folder_);
            if (reason.empty()) {
                ++results_.missing;
                return;
            }
            results_.failures.emplace_back(number, reason);
            for (auto& [metric, found] : results_.metrics) score_in(found).state = State::failed;
            return;
        }
        for (const auto& m : measured_in(*result)) {
            const auto at = results_.metrics.find(m.metric);
            if (at == results_.metrics.end()) continue;
            auto& found = at->second;
            if (!found.better) found.better = m.better;
            if (found.note.empty()) found.note = m.note;
            if (found.unit.empty()) found.unit = m.unit;
            score_in(found) = score_of(m);
            auto& known = expected_[cell.arm][m.metric];
            known.first.push_back(m.expected);
            known.second.push_back(m.expected_sd);
            for (const auto* key : {"n", "split", "features", "data"})
                if (m.card.is_object() && m.card.contains(key))
                    cards_[m.metric][cell.arm][key].insert(m.card[key].dump());
        }
        if (cell.chosen) compare_with_tuned(cell, *result);
        const auto& training = task.needs.empty() ? task : study_.task(task.needs);
        const auto trained = task.needs.empty() ? result : result_of(training, folder_, accept_rebuilt_);
        const auto seconds = [](const json& of, const char* what) {
            return number_at(of.value("seconds", json::object()), what);
        };
        costs_[cell.arm].push_back({images_of(study_, task), number_at(*result, "network_evaluations"),
                                    trained ? seconds(*trained, "train") : NAN, seconds(*result, "sample"),
                                    number_at(*result, "parameters")});
    }

    /// Is the number that is reported the one that the value was chosen by?
    void compare_with_tuned(const Cell& cell, const json& result) {
        const auto number = [&](const json& of) {
            for (const auto& m : measured_in(of))
                if (m.metric == study_.tune->metric) return m.value;
            return double(NAN);
        };
        const auto tuned = result_of(study_.task(cell.tuned[*cell.chosen]), folder_, accept_rebuilt_);
        if (!tuned || std::isnan(number(*tuned))) return;
        ++(number(*tuned) == number(result) ? chosen_by_reported_ : chosen_by_others_);
    }

    void warn_of_tuning() {
        if (!study_.tune) return;
        const auto& [key, metric, values, seed] = *study_.tune;
        if (chosen_by_reported_ > 0 && chosen_by_others_ == 0)
            results_.warnings.push_back(
                fmt::format("{} does not depend on what is drawn: {} was chosen by the numbers "
                            "that are reported, which flatters every arm",
                            metric, key));
        for (std::size_t arm = 0; arm < study_.arms.size() && values.size() > 2; ++arm)
            for (const auto end : {std::size_t{0}, values.size() - 1}) {
                std::size_t cells = 0, at_end = 0;
                for (const auto& cell : study_.cells)
                    if (cell.arm == arm && cell.chosen) ++cells, at_end += *cell.chosen == end;
                if (cells > 0 && at_end == cells)
                    results_.warnings.push_back(
                        fmt::format("with every seed `{}` chose {} = {}, which is the {} of the values: a better one "
                                    "may lie beyond",
                                    study_.arms[arm].name, key, values[end], end ? "last" : "first"));
            }
    }

    void settle(MetricResults& found) {
        std::vector<Values> all;
        for (std::size_t arm = 0; arm < found.arms.size(); ++arm) {
            auto& score = found.arms[arm];
            score.compared = compared_of(score.cells, study_.seeds.size(), found.less());
            all.push_back(score.compared);
            const auto& known = expected_[arm][found.name];
            score.expected = mean_of_known(known.first);
            score.expected_sd = mean_of_known(known.second);
            if (std::any_of(score.compared.begin(), score.compared.end(),
                            [](const auto& one) { return one.has_value(); }))
                score.mean = estimate(score.compared, study_.level);
        }
        const auto rank = ranks(all, found.less(), study_.level);
        for (std::size_t arm = 0; arm < found.arms.size(); ++arm) found.arms[arm].rank = rank[arm];
        found.smallest = smallest_of(study_, found.arms[study_.baseline]);
    }

    /// Every comparison of the confirmatory metrics is of one family; each exploratory metric is a family of its own.
    void compare() {
        const auto arms = study_.arms.size();
        const auto each = study_.all_pairs ? arms * (arms - 1) / 2 : arms - 1;
        std::vector<Difference*> confirmatory;
        for (const auto& metric : study_.metrics) {
            auto& found = results_.metrics.at(metric);
            found.family = {1 - study_.error(), each * (study_.confirm == "all" ? study_.metrics.size() : 1)};
            const auto against = [&](std::size_t first, std::size_t second) {
                const auto &other = found.arms[first].compared, &arm = found.arms[second].compared;
                auto d = difference(other, arm, found.family);
                // What a look may err is the verdict's; a difference alone has its interval at the study's level.
                d.estimate.interval = difference(other, arm, {study_.level, 1}).estimate.interval;
                return d;
            };
            std::vector<Difference*> own;
            for (std::size_t arm = 0; arm < arms; ++arm) {
                if (arm == study_.baseline) continue;
                found.arms[arm].difference = against(study_.baseline, arm);
                if (!study_.all_pairs) own.push_back(&found.arms[arm].difference);
            }
            if (study_.all_pairs)
                for (std::size_t first = 0; first < arms; ++first)
                    for (auto second = first + 1; second < arms; ++second)
                        found.pairs.push_back({first, second, against(first, second)});
            for (auto& pair : found.pairs) own.push_back(&pair.difference);
            if (found.confirmatory)
                confirmatory.insert(confirmatory.end(), own.begin(), own.end());
            else
                adjust(own);
        }
        adjust(confirmatory);
        // With all pairs, what stands beside the baseline is the pair's.
        for (auto& [metric, found] : results_.metrics)
            for (const auto& pair : found.pairs) {
                if (pair.first == study_.baseline)
                    found.arms[pair.second].difference.p_holm = pair.difference.p_holm;
                else if (pair.second == study_.baseline)
                    found.arms[pair.first].difference.p_holm = pair.difference.p_holm;
            }
    }

    void warn(const MetricResults& found) {
        const auto any = [&](State state) {
            return std::any_of(found.arms.begin(), found.arms.end(),
                               [&](const Score& score) { return score.count(state) > 0; });
        };
        if (!found.better && (any(State::finite) || any(State::infinite)))
            results_.warnings.push_back(fmt::format(
                "nobody says which values of {} are good: it was measured by an older dtk, and is taken for "
                "one of which less is better",
                found.name));
        for (std::size_t arm = 0; arm < found.arms.size(); ++arm) {
            const auto& score = found.arms[arm];
            for (const auto& [state, what] :
                 {std::pair{State::undefined, "is undefined"}, std::pair{State::infinite, "is infinite"}})
                if (const auto n = score.count(state); n > 0)
                    results_.warnings.push_back(
                        fmt::format("{} of `{}` {} in {} of {} cells: it has no mean and stands last", found.name,
                                    study_.arms[arm].name, what, n, score.cells.size() - score.count(State::to_do)));
            if (score.difference.skewed.value_or(false))
                results_.warnings.push_back(
                    fmt::format("the differences of `{}` in {} are visibly skewed: their interval is too hopeful",
                                study_.arms[arm].name, found.name));
        }
        std::map<std::string, std::set<std::string>> all;
        for (const auto& arm : cards_.at(found.name))
            for (const auto& [key, values] : arm) all[key].insert(values.begin(), values.end());
        for (const auto& [key, values] : all)
            if (values.size() > 1)
                results_.warnings.push_back(fmt::format("the numbers of {} were not measured alike: `{}` is {}",
                                                        found.name, key, fmt::join(values, " and ")));
    }

    void settle_costs() {
        for (const auto& costs : costs_) {
            const auto of = [&](double Cost::*part) {
                std::vector<double> values;
                for (const auto& cost : costs) values.push_back(cost.*part);
                return mean_of_known(values);
            };
            results_.costs.push_back({of(&Cost::images), of(&Cost::evaluations), of(&Cost::train_seconds),
                                      of(&Cost::sample_seconds), of(&Cost::parameters)});
        }
        const auto differ = [&](double Cost::*part, const char* what) {
            const double base = results_.costs[study_.baseline].*part;
            for (const auto& cost : results_.costs)
                if (std::isfinite(cost.*part + base) && std::abs(cost.*part - base) > 1e-9 * std::abs(base)) {
                    results_.warnings.push_back(fmt::format("the arms are not of equal cost: they differ in {}", what));
                    return;
                }
        };
        differ(&Cost::images, "the number of training examples seen");
        differ(&Cost::parameters, "the number of parameters");
        differ(&Cost::evaluations, "network evaluations for each sample");
    }

    const Study& study_;
    const std::filesystem::path& folder_;
    bool accept_rebuilt_;
    StudyResults results_;
    std::vector<std::vector<Cost>> costs_;
    std::vector<std::map<std::string, std::pair<std::vector<double>, std::vector<double>>>> expected_;
    std::map<std::string, Cards> cards_;
    std::size_t chosen_by_reported_ = 0, chosen_by_others_ = 0;  ///< cells of a study that tunes
};

}  // namespace

CellScore score_of(const Measured& m) {
    CellScore cell{.value = m.value,
                   .compared = m.better == Better::nearest ? std::abs(m.value - m.expected) : m.value};
    cell.state = std::isnan(cell.compared)   ? State::undefined
                 : std::isinf(cell.compared) ? State::infinite
                                             : State::finite;
    return cell;
}

Values compared_of(const std::vector<CellScore>& cells, std::size_t seeds, bool less) {
    const double worst = less ? INFINITY : -INFINITY;
    const auto each = cells.size() / seeds;
    Values all;
    for (std::size_t seed = 0; seed < seeds; ++seed) {
        double sum = 0, n = 0;
        for (std::size_t i = seed * each; i < (seed + 1) * each; ++i) {
            if (cells[i].state == State::to_do) continue;
            const bool number = cells[i].state == State::finite || cells[i].state == State::infinite;
            sum += number ? cells[i].compared : worst;
            n += 1;
        }
        const double mean = std::isnan(sum) ? worst : sum / n;
        all.push_back(n > 0 ? std::optional(mean) : std::nullopt);
    }
    return all;
}

std::vector<double> compared_cells(const Score& score) {
    std::vector<double> values;
    for (const auto& cell : score.cells) values.push_back(cell.state == State::finite ? cell.compared : NAN);
    return values;
}

std::size_t Score::count(CellScore::State state) const {
    return static_cast<std::size_t>(
        std::count_if(cells.begin(), cells.end(), [&](const CellScore& cell) { return cell.state == state; }));
}

std::vector<std::size_t> MetricResults::order() const {
    std::vector<std::size_t> all(arms.size());
    for (std::size_t arm = 0; arm < arms.size(); ++arm) all[arm] = arm;
    const auto key = [&](std::size_t arm) { return arms[arm].has_mean() ? shortfall(arms[arm].mean.mean) : INFINITY; };
    std::stable_sort(all.begin(), all.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    return all;
}

StudyResults results_of(const Study& study, const std::filesystem::path& folder, bool accept_rebuilt) {
    return ResultsReader(study, folder, accept_rebuilt).read();
}

}  // namespace dtk
