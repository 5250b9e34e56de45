// A study's results as tables: for a terminal, as JSON, CSV and LaTeX.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json.hpp"
#include "study/components.hpp"
#include "study/convergence.hpp"
#include "study/tables.hpp"

namespace dtk {

using json = nlohmann::json;

namespace {

json known(const std::optional<double>& value) { return value ? json_number(*value) : json(nullptr); }

/// null where it is not known.
json known(double value) { return std::isnan(value) ? json(nullptr) : json_number(value); }

template <class Number>
json numbers(const std::vector<Number>& values) {
    json all = json::array();
    for (const auto& value : values) all.push_back(known(value));
    return all;
}

json interval(const std::optional<Interval>& pair) {
    return pair ? json{json_number(pair->first), json_number(pair->second)} : json(nullptr);
}

json estimate_json(const Estimate& e) {
    json one{{"n", e.n}, {"mean", e.n ? known(e.mean) : json(nullptr)}, {"interval", interval(e.interval)}};
    if (e.constant) one["constant"] = true;
    return one;
}

json difference_json(const Difference& d, const MetricResults& metric) {
    static constexpr const char* tests[] = {"none", "student", "signed rank"};
    auto one = estimate_json(d.estimate);
    one.update({{"simultaneous", interval(d.simultaneous)},
                {"test", tests[static_cast<int>(d.test)]},
                {"p", known(d.p)},
                {"p_holm", known(d.p_holm)},
                {"signed_rank_p", known(d.rank_p)},
                {"skewed", d.skewed ? json(*d.skewed) : json(nullptr)},
                {"detectable", known(d.detectable)},
                {"pairing", known(d.pairing)},
                {"verdict", name_of(verdict_of(d, metric))}});
    if (metric.smallest > 0) one["equivalence"] = interval(d.equivalence);
    return one;
}

const char* name_of_state(CellScore::State state) {
    static constexpr const char* names[] = {"to do", "failed", "undefined", "infinite", "finite"};
    return names[static_cast<int>(state)];
}

json metric_json(const Study& study, const MetricResults& metric) {
    json one{{"metric", metric.name},
             {"better", metric.better ? json(std::string(name_of(*metric.better))) : json(nullptr)},
             {"unit", metric.unit},
             {"note", metric.note},
             {"confirmatory", metric.confirmatory},
             {"comparisons", metric.family.comparisons},
             {"smallest", metric.smallest > 0 ? json(metric.smallest) : json(nullptr)},
             {"order", json::array()}};
    for (const auto arm : metric.order()) one["order"].push_back(study.arms[arm].name);
    for (const auto& pair : metric.pairs)
        one["pairs"].push_back({{"first", study.arms[pair.first].name},
                                {"second", study.arms[pair.second].name},
                                {"difference", difference_json(pair.difference, metric)}});
    return one;
}

json slopes_json(const Study& study, const StudyResults& results) {
    json all = json::array();
    for (const auto& group : groups_by_steps(study)) {
        if (group.arms.size() < 2) continue;
        for (const auto& metric : study.metrics) {
            const auto slope = slope_of(group, results, metric, study.level);
            auto one = estimate_json(slope.estimate);
            one.update({{"arms", group.name},
                        {"metric", metric},
                        {"of_seeds", numbers(slope.of_seeds)},
                        {"standard_error", known(slope.standard_error)}});
            all.push_back(std::move(one));
        }
    }
    return all;
}

json scatter_json(const Study& study, const MetricResults& metric, std::size_t arm) {
    json all = json::array();
    const auto add = [&](const char* of, const std::vector<StreamScatter>& scatter) {
        for (const auto& one : scatter)
            all.push_back({{"of", of},
                           {"stream", one.stream.empty() ? json("all") : json(one.stream)},
                           {"variance", json_number(one.training.variance)},
                           {"interval", interval(one.training.interval)},
                           {"pairing", known(one.pairing)}});
    };
    add("value", scatter_by_stream(study, metric, arm));
    if (arm != study.baseline) add("difference", scatter_by_stream(study, metric, arm, study.baseline));
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

std::string interval_text(const std::optional<Interval>& pair) {
    return pair ? fmt::format("[{:.4g}, {:.4g}]", pair->first, pair->second) : std::string();
}

std::string own_interval(const Estimate& e) {
    return e.interval   ? fmt::format("{} ({})", interval_text(e.interval), e.n)
           : e.constant ? fmt::format("the same with all {}", e.n)
           : e.n == 1   ? std::string("n = 1, no interval")
                        : fmt::format("none ({})", e.n);
}

std::string difference_interval(const Difference& d) {
    return d.simultaneous      ? interval_text(d.simultaneous)
           : d.exact           ? std::string("no seed matters")
           : d.estimate.n == 1 ? std::string("n = 1, no interval")
                               : std::string("none");
}

std::string signed_number(double value) {
    return std::isfinite(value) ? fmt::format("{:+.4g}", value) : std::isinf(value) ? (value > 0 ? "+∞" : "−∞") : "–";
}

/// As wide as asked for on the screen.
std::string column(const std::string& text, std::size_t width, bool right = true) {
    const auto letters = static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xc0) != 0x80; }));
    const std::string room(letters < width ? width - letters : 0, ' ');
    return right ? room + text : text + room;
}

}  // namespace

std::string direction_text(const MetricResults& metric) {
    const auto& truth = metric.arms.front().expected;
    if (metric.nearest())
        return std::isfinite(truth) ? fmt::format("how far from {:.5g}, which true samples give; less is better", truth)
                                    : std::string("how far from what true samples give; less is better");
    return metric.less() ? "less is better" : "more is better";
}

json score_json(const Score& s, const MetricResults& metric, bool baseline) {
    auto one = estimate_json(s.mean);
    json values = json::array(), states = json::array(), compared = json::array();
    for (const auto& cell : s.cells) {
        const bool measured = cell.state != CellScore::State::to_do && cell.state != CellScore::State::failed;
        values.push_back(measured ? json_number(cell.value) : json(nullptr));
        compared.push_back(measured ? json_number(cell.compared) : json(nullptr));
        states.push_back(name_of_state(cell.state));
    }
    one.update({{"values", values},
                {"compared", compared},
                {"states", states},
                {"expected", known(s.expected)},
                {"expected_sd", known(s.expected_sd)},
                {"rank", s.rank.n ? known(s.rank.mean) : json(nullptr)}});
    for (const auto& [stream, cells] : s.of_stream) {
        auto& alone = one["of_stream"][stream] = json::array();
        for (const auto& cell : cells)
            alone.push_back(cell.state == CellScore::State::to_do ? json(nullptr) : known(cell.compared));
    }
    if (!baseline) one["difference"] = difference_json(s.difference, metric);
    return one;
}

std::string table_text(const Study& study, const StudyResults& results) {
    std::size_t width = 8;
    for (const auto& arm : study.arms) width = std::max(width, arm.name.size());
    std::string text;
    for (const auto& name : study.metrics) {
        const auto& metric = results.metrics.at(name);
        text += fmt::format("\n{} ({}; {}{})\n", name, metric.note.empty() ? "no result" : metric.note,
                            direction_text(metric), metric.confirmatory ? "" : "; exploratory");
        const auto line = [&](const std::vector<std::string>& cells) {
            text += column(cells[0], width, false) + "  " + column(cells[1], 11) + "  " + column(cells[2], 26, false) +
                    "  " + column(cells[3], 11) + "  " + column(cells[4], 24, false) + "  " + column(cells[5], 8) +
                    "  " + column(cells[6], 14, false) + "  " + column(cells[7], 5) + "\n";
        };
        line({"arm", "mean", fmt::format("{:g} % interval (n)", 100 * study.level), "difference",
              "simultaneous interval", "Holm p", "verdict", "rank"});
        for (std::size_t arm = 0; arm < metric.arms.size(); ++arm) {
            const auto& s = metric.arms[arm];
            const auto& d = s.difference;
            const bool compared = arm != study.baseline && d.estimate.n > 0;
            line({study.arms[arm].name, s.has_mean() ? mean_text(s) : "–",
                  s.has_mean() ? own_interval(s.mean) : mean_text(s),
                  arm == study.baseline ? "baseline"
                  : compared            ? signed_number(d.estimate.mean)
                                        : "",
                  compared ? difference_interval(d) : "", d.p_holm ? fmt::format("{:.2g}", *d.p_holm) : "",
                  arm == study.baseline ? "" : name_of(verdict_of(d, metric)),
                  s.rank.n > 0 ? fmt::format("{:.2f}", s.rank.mean) : "–"});
        }
        if (const auto& s = metric.arms[study.baseline]; std::isfinite(s.expected))
            text += metric.nearest()
                        ? fmt::format("true samples' value has a standard deviation of {:.2g}\n", s.expected_sd)
                        : fmt::format("{:<{}}  {:>11.5g}  ± {:.2g} (standard deviation)\n", "true samples", width,
                                      s.expected, s.expected_sd);
    }
    return text;
}

json results_json(const Study& study, const StudyResults& results) {
    json arms = json::array();
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        const auto& cost = results.costs[arm];
        json one{{"arm", study.arms[arm].name},
                 {"set", study.arms[arm].set},
                 {"baseline", arm == study.baseline},
                 {"images", known(cost.images)},
                 {"network_evaluations", known(cost.evaluations)},
                 {"parameters", known(cost.parameters)}};
        for (const auto& metric : study.metrics) {
            const auto& found = results.metrics.at(metric);
            auto& score = one["metrics"][metric] = score_json(found.arms[arm], found, arm == study.baseline);
            if (study.one_at_a_time) score["scatter"] = scatter_json(study, found, arm);
        }
        arms.push_back(std::move(one));
    }
    json failures = json::array(), metrics = json::array();
    for (const auto& [number, reason] : results.failures) {
        const auto& cell = study.cells[number];
        failures.push_back({{"arm", study.arms[cell.arm].name}, {"seed", cell.seed}, {"reason", reason}});
        if (cell.sample_seed) failures.back()["sample_seed"] = *cell.sample_seed;
        if (!cell.stream.empty()) failures.back()["stream"] = cell.stream;
    }
    for (const auto& metric : study.metrics) metrics.push_back(metric_json(study, results.metrics.at(metric)));
    json tuned;
    if (study.tune) {
        tuned = {{"key", study.tune->key},
                 {"metric", study.tune->metric},
                 {"values", study.tune->values},
                 {"seed", study.tune->seed},
                 {"chosen", json::array()}};
        for (const auto& cell : study.cells)
            if (cell.chosen && cell.stream.empty() &&
                (!cell.sample_seed || cell.sample_seed == study.sample_seeds.front()))
                tuned["chosen"].push_back({{"arm", study.arms[cell.arm].name},
                                           {"seed", cell.seed},
                                           {"value", study.tune->values[*cell.chosen]}});
    }
    json search;
    if (study.search) {
        search = {{"fresh", study.search->fresh}, {"seeds", study.search->seeds}, {"rungs", json::array()}};
        for (const auto& rung : study.search->done)
            search["rungs"].push_back(
                {{"steps", rung.steps}, {"arms", rung.arms}, {"means", numbers(rung.means)}, {"kept", rung.kept}});
    }
    return {{"study", study.name},
            {"question", study.question},
            {"conclusion", conclusion(study, results, study.metrics.front())},
            {"seeds", study.seeds},
            {"sample_seeds", study.sample_seeds},
            {"vary", study.vary},
            {"tune", tuned},
            {"search", search},
            {"level", study.level},
            {"metrics", metrics},
            {"arms", arms},
            {"slopes", slopes_json(study, results)},
            {"failures", failures},
            {"warnings", results.warnings}};
}

std::string results_csv(const Study& study, const StudyResults& results) {
    const bool two = !study.sample_seeds.empty();
    std::string text = fmt::format("arm,seed,{}metric,better,unit,state,value,compared\n", two ? "sample_seed," : "");
    const auto each = std::max<std::size_t>(1, study.sample_seeds.size());
    for (const auto& name : study.metrics) {
        const auto& metric = results.metrics.at(name);
        for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
            for (std::size_t place = 0; place < metric.arms[arm].cells.size(); ++place) {
                const auto& cell = metric.arms[arm].cells[place];
                const bool measured = cell.state != CellScore::State::to_do && cell.state != CellScore::State::failed;
                const auto field = [&](double value) { return measured ? fmt::format("{}", value) : std::string(); };
                text += fmt::format(
                    "{},{},{}{},{},{},{},{},{}\n", csv_field(study.arms[arm].name), study.seeds[place / each],
                    two ? fmt::format("{},", study.sample_seeds[place % each]) : std::string(), csv_field(name),
                    metric.better ? name_of(*metric.better) : "", csv_field(metric.unit), name_of_state(cell.state),
                    field(cell.value), field(cell.compared));
            }
    }
    return text;
}

std::string results_tex(const Study& study, const StudyResults& results) {
    std::string text = fmt::format(
        "% {}: mean [{:g} % interval] over {} seeds, the best mean in bold. Needs "
        "\\usepackage{{booktabs}}.\n\\begin{{tabular}}{{l{}}}\n\\toprule\narm",
        latex(study.name), 100 * study.level, study.seeds.size(), std::string(study.metrics.size(), 'r'));
    for (const auto& name : study.metrics)
        text += fmt::format(" & {} ${}$", latex(name), results.metrics.at(name).less() ? "\\downarrow" : "\\uparrow");
    text += " \\\\\n\\midrule\n";
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        text += latex(study.arms[arm].name);
        for (const auto& name : study.metrics) {
            const auto& metric = results.metrics.at(name);
            const auto& s = metric.arms[arm];
            const auto& first = metric.arms[metric.order().front()];
            const bool best = s.has_mean() && s.mean.mean == first.mean.mean;
            if (!s.has_mean())
                text += s.mean.n == 0 ? " & --" : " & " + latex(mean_text(s));
            else
                text +=
                    fmt::format(" & {}{:.4g}{} {}", best ? "\\textbf{" : "", s.mean.mean, best ? "}" : "",
                                s.mean.interval ? interval_text(s.mean.interval) : fmt::format("($n = {}$)", s.mean.n));
        }
        text += " \\\\\n";
    }
    const auto floor = [&](const std::string& name) -> const Score& {
        return results.metrics.at(name).arms[study.baseline];
    };
    if (std::any_of(study.metrics.begin(), study.metrics.end(),
                    [&](const auto& name) { return std::isfinite(floor(name).expected); })) {
        text += "\\midrule\ntrue samples (sd)";
        for (const auto& name : study.metrics) {
            const auto& s = floor(name);
            text += !std::isfinite(s.expected)           ? " & --"
                    : results.metrics.at(name).nearest() ? fmt::format(" & 0 ({:.2g})", s.expected_sd)
                                                         : fmt::format(" & {:.4g} ({:.2g})", s.expected, s.expected_sd);
        }
        text += " \\\\\n";
    }
    return text + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace dtk
