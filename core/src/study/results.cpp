// What a study found, for other programs: JSON, CSV and LaTeX.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json.hpp"
#include "study/report.hpp"

namespace dtk {

using json = nlohmann::json;

namespace {

json number(const std::optional<double>& value) { return json_number(value.value_or(NAN)); }

json numbers(const std::vector<double>& values) {
    json all = json::array();
    for (const double value : values) all.push_back(number(value));
    return all;
}

json interval(const std::optional<std::pair<double, double>>& pair) {
    return pair ? json{number(pair->first), number(pair->second)} : json(nullptr);
}

json estimate_json(const Estimate& e) {
    return {{"n", e.n}, {"mean", number(e.n ? e.mean : NAN)}, {"interval", interval(e.interval)}};
}

json score_json(const Score& s, bool baseline) {
    static constexpr const char* words[] = {"better", "worse", "not told apart", "one seed", "no pair"};
    auto one = estimate_json(s.distance);
    one.update({{"values", numbers(s.values)},
                {"distances", numbers(s.distances)},
                {"expected", number(s.expected)},
                {"expected_sd", number(s.expected_sd)},
                {"rank", number(s.rank.n ? s.rank.mean : NAN)}});
    if (baseline) return one;
    auto& difference = one["difference"] = estimate_json(s.difference.estimate);
    difference.update({{"simultaneous", interval(s.difference.simultaneous)},
                       {"p", number(s.difference.p)},
                       {"p_holm", number(s.difference.p_holm)},
                       {"skewed", s.difference.skewed},
                       {"told", words[static_cast<int>(told(s.difference))]}});
    return one;
}

json slopes_json(const Study& study, const Findings& findings) {
    json all = json::array();
    for (const auto& group : groups_by_steps(study)) {
        if (group.arms.size() < 2) continue;
        for (const auto& metric : study.metrics) {
            const auto slope = slope_of(group, findings, metric, study.level);
            auto one = estimate_json(slope.estimate);
            one.update({{"arms", group.name},
                        {"metric", metric},
                        {"of_seeds", numbers(slope.of_seeds)},
                        {"standard_error", number(slope.standard_error)}});
            all.push_back(std::move(one));
        }
    }
    return all;
}

std::string latex(const std::string& text) {
    std::string safe;
    for (const char c : text) {
        switch (c) {
            case '\\':
                safe += "\\textbackslash{}";
                break;
            case '~':
                safe += "\\textasciitilde{}";
                break;
            case '^':
                safe += "\\textasciicircum{}";
                break;
            case '\n':
                safe += ' ';
                break;
            case '&':
            case '%':
            case '$':
            case '#':
            case '_':
            case '{':
            case '}':
                safe += '\\';
                [[fallthrough]];
            default:
                safe += c;
        }
    }
    return safe;
}

}  // namespace

json results_json(const Study& study, const Findings& findings) {
    json arms = json::array();
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        const auto& cost = findings.costs[arm];
        json one{{"arm", study.arms[arm].name},
                 {"set", study.arms[arm].set},
                 {"baseline", arm == study.baseline},
                 {"images", number(cost.images)},
                 {"network_evaluations", number(cost.evaluations)},
                 {"parameters", number(cost.parameters)}};
        for (const auto& metric : study.metrics)
            one["metrics"][metric] = score_json(findings.scores.at(metric)[arm], arm == study.baseline);
        arms.push_back(std::move(one));
    }
    json failures = json::array();
    for (const auto& [cell, reason] : findings.failures)
        failures.push_back(
            {{"arm", study.arms[study.cells[cell].arm].name}, {"seed", study.cells[cell].seed}, {"reason", reason}});
    return {{"study", study.name},
            {"question", study.question},
            {"conclusion", conclusion(study, findings, study.metrics.front())},
            {"seeds", study.seeds},
            {"level", study.level},
            {"arms", arms},
            {"slopes", slopes_json(study, findings)},
            {"failures", failures},
            {"warnings", findings.warnings}};
}

std::string results_csv(const Study& study, const Findings& findings) {
    std::string text = "arm,seed,metric,value,distance\n";
    for (const auto& metric : study.metrics)
        for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
            for (std::size_t seed = 0; seed < study.seeds.size(); ++seed) {
                const auto& s = findings.scores.at(metric)[arm];
                const auto field = [](double value) {
                    return std::isfinite(value) ? fmt::format("{}", value) : std::string();
                };
                text += fmt::format("{},{},{},{},{}\n", csv_field(study.arms[arm].name), study.seeds[seed],
                                    csv_field(metric), field(s.values[seed]), field(s.distances[seed]));
            }
    return text;
}

std::string results_tex(const Study& study, const Findings& findings) {
    std::string text = fmt::format(
        "% {}: mean [{:g} % interval] over {} seeds, less is better, the least mean in bold. Needs "
        "\\usepackage{{booktabs}}.\n\\begin{{tabular}}{{l{}}}\n\\toprule\narm",
        latex(study.name), 100 * study.level, study.seeds.size(), std::string(study.metrics.size(), 'r'));
    for (const auto& metric : study.metrics) text += " & " + latex(metric);
    text += " \\\\\n\\midrule\n";
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        text += latex(study.arms[arm].name);
        for (const auto& metric : study.metrics) {
            const auto& all = findings.scores.at(metric);
            const auto& e = all[arm].distance;
            const bool best = e.n > 0 && std::all_of(all.begin(), all.end(), [&](const Score& other) {
                                  return other.distance.n == 0 || e.mean <= other.distance.mean;
                              });
            if (e.n == 0)
                text += " & --";
            else
                text += fmt::format(" & {}{:.4g}{} {}", best ? "\\textbf{" : "", e.mean, best ? "}" : "",
                                    e.interval ? fmt::format("[{:.4g}, {:.4g}]", e.interval->first, e.interval->second)
                                               : fmt::format("($n = {}$)", e.n));
        }
        text += " \\\\\n";
    }
    const auto& first = findings.scores;
    if (std::any_of(first.begin(), first.end(),
                    [&](const auto& scores) { return std::isfinite(scores.second[study.baseline].expected); })) {
        text += "\\midrule\ntrue samples (sd)";
        for (const auto& metric : study.metrics) {
            const auto& s = first.at(metric)[study.baseline];
            text += !std::isfinite(s.expected) ? " & --"
                    : s.two_sided              ? fmt::format(" & 0 ({:.2g})", s.expected_sd)
                                               : fmt::format(" & {:.4g} ({:.2g})", s.expected, s.expected_sd);
        }
        text += " \\\\\n";
    }
    return text + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace dtk
