#include "base/expectation.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "base/words.hpp"

namespace dtk {

namespace {

struct ExpectSettings {
    std::string metric, source;
    double value = NAN;
    void fields(Fields& f) {
        f("metric", metric, "the metric's name; of several stages with the stage's before it: student.nll");
        f("value", value, any_number(), "what it is claimed to be");
        f("source", source, "who claims it");
    }
};

/// A number above 0, or a share of the value such as "5%"; nothing where it is neither.
std::optional<double> tolerance_of(const toml::node* node, double value) {
    if (const auto number = node ? node->value<double>() : std::nullopt; number && *number > 0) return number;
    const auto text = node ? node->value<std::string>() : std::nullopt;
    if (!text || !text->ends_with('%')) return std::nullopt;
    char* end = nullptr;
    const double share = std::strtod(text->c_str(), &end);
    if (end != text->c_str() + text->size() - 1 || !(share > 0) || !std::isfinite(share)) return std::nullopt;
    return share / 100 * std::abs(value);
}

Expectation read_expectation(const toml::table& table, ParseContext& reading, const std::vector<std::string>& metrics) {
    const auto place = [&](const char* key) { return table.get(key) ? place_of(*table.get(key)) : place_of(table); };
    ExpectSettings settings;
    TomlFields reader(reading, &table, "[expect]");
    settings.fields(reader);
    reader.finish({"within"});
    const auto within = tolerance_of(table.get("within"), settings.value);
    constexpr auto example = "write for example metric = \"nll\", value = 2.07, within = 0.02";
    const bool known = std::find(metrics.begin(), metrics.end(), settings.metric) != metrics.end();
    if (!known && reading.mistakes.empty())
        reading.mistakes.add(place("metric"),
                             settings.metric.empty()
                                 ? "[expect] does not say what `metric` it is about"
                                 : fmt::format("`{}` is no metric of the experiment", settings.metric),
                             did_you_mean(settings.metric, metrics,
                                          metrics.empty() ? std::string("add a [[metric]]")
                                                          : fmt::format("it has {}", listed(metrics))));
    if (!std::isfinite(settings.value))
        reading.mistakes.add(place("value"), "[expect] does not say what `value` is claimed", example);
    else if (!within)
        reading.mistakes.add(
            place("within"),
            "[expect] does not say how far off the value may be: `within` is a number above 0 or a share",
            "write for example within = 0.02, or within = \"5%\"");
    return {settings.metric, settings.value, within.value_or(0), settings.source};
}

}  // namespace

std::vector<Expectation> read_expectations(const Experiment& experiment, Diagnostics& mistakes) {
    std::vector<Expectation> all;
    const auto* node = experiment.root->get("expect");
    if (!node) return all;
    std::vector<std::string> metrics;
    for (const auto& stage : experiment.stages)
        for (const auto& metric : stage.list("metric"))
            metrics.push_back((experiment.root->contains("stage") ? stage.name + "." : "") + metric.label);
    const Registry none({});
    ParseContext reading{none, mistakes, experiment.file.parent_path(), {experiment.root.get()}};
    const auto* list = node->as_array();
    if (const auto* table = node->as_table())
        all.push_back(read_expectation(*table, reading, metrics));
    else if (list && list->is_array_of_tables())
        for (const auto& one : *list) all.push_back(read_expectation(*one.as_table(), reading, metrics));
    else
        mistakes.add(place_of(*node), "`expect` must be a table, [expect], or several, [[expect]]");
    return all;
}

}  // namespace dtk
