// The charts of a report: where the seeds lie, how the arms differ, quality against cost, curves and schedules.
#include "study/charts.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <dtk/error.hpp>
#include <dtk/schedule.hpp>

#include "base/files.hpp"
#include "base/json.hpp"
#include "base/validated.hpp"
#include "base/words.hpp"
#include "study/components.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;
using page::escaped;
using page::shown;

namespace {

int colour_of(const std::vector<Group>& groups, std::size_t arm) {
    const auto holds = [&](const Group& group) {
        return std::find(group.arms.begin(), group.arms.end(), arm) != group.arms.end();
    };
    return static_cast<int>(std::find_if(groups.begin(), groups.end(), holds) - groups.begin());
}

/// "linear 0.042, cosine 0.11": for those who hear a chart; of many the first.
std::string spoken(const std::vector<std::pair<std::string, double>>& values) {
    std::vector<std::string> parts;
    for (const auto& [name, value] : values) parts.push_back(fmt::format("{} {:.3g}", name, value));
    constexpr std::size_t most = 12;
    const bool more = parts.size() > most;
    if (more) parts.resize(most);
    return fmt::format("{}{}", fmt::join(parts, ", "), more ? fmt::format(" and {} more", values.size() - most) : "");
}

/// Wide enough apart for a logarithmic axis, and nothing on it that it cannot show.
bool spans_decades(const std::vector<double>& values) {
    double low = INFINITY, high = 0;
    for (const double value : values) {
        if (!std::isfinite(value)) continue;
        low = std::min(low, value);
        high = std::max(high, value);
    }
    return low > 0 && high > 20 * low;
}

/// The noise levels of a process at every time.
struct Levels {
    std::vector<double> alpha_bar, log_snr;
    std::size_t steps() const { return alpha_bar.size(); }
};

/// As the schedule's plugin has them; nothing where no schedule says them before training, or the plugin is not there.
std::optional<Levels> levels_of_plugin(const toml::table& root) {
    std::vector<fs::path> folders;
    if (const auto* path = root["plugins"]["path"].as_array())
        for (const auto& one : *path) folders.emplace_back(one.value_or(std::string()));
    try {
        static std::map<std::vector<fs::path>, Registry> registries;
        const auto& registry = registries.try_emplace(folders, plugin_folders(folders)).first->second;
        Diagnostics mistakes;
        ParseContext reading{registry, mistakes, fs::current_path(), {&root}};
        const auto spec = read_plugin(reading, "schedule", root["process"]["schedule"].as_table(), {});
        if (!spec) return std::nullopt;
        const auto levels = std::static_pointer_cast<Schedule>(spec.make(no_context()))
                                ->levels(root["process"]["steps"].value_or(std::int64_t{1000}));
        Levels all;
        for (std::int64_t t = 0; t < levels.steps(); ++t) {
            all.alpha_bar.push_back(levels.alpha_bar(t));
            all.log_snr.push_back(levels.log_snr(t));
        }
        return all;
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

/// The noise levels of an arm's process. They are kept in the study's folder, which then needs no plugin any more.
std::optional<Levels> noise_levels(const toml::table& root, const fs::path& folder) {
    const auto* schedule = root["process"]["schedule"].as_table();
    if (!schedule) return std::nullopt;
    const auto key =
        fmt::format("{}, {} steps", toml_value(*schedule), root["process"]["steps"].value_or(std::int64_t{1000}));
    const auto file = folder / "schedules.json";
    auto kept = read_json(file);
    if (!kept.is_object()) kept = json::object();
    const auto numbers = [](const json& list) {
        std::vector<double> all;
        for (const auto& one : list) all.push_back(number_of(one).value_or(NAN));
        return all;
    };
    if (const auto known = kept.find(key); known != kept.end() && known->is_object())
        return Levels{numbers(known->value("alpha_bar", json::array())),
                      numbers(known->value("log_snr", json::array()))};
    const auto levels = levels_of_plugin(root);
    if (!levels) return std::nullopt;
    for (const auto& [name, values] :
         {std::pair{"alpha_bar", &levels->alpha_bar}, std::pair{"log_snr", &levels->log_snr}})
        for (const double value : *values) kept[key][name].push_back(json_number(value));
    write_atomically(file, kept.dump() + "\n");
    return levels;
}

using Points = std::map<double, double>;

/// The mean over seeds at each place that all of them have, and from the least to the greatest as a band.
Series curve(const std::string& name, int colour, const std::vector<Points>& seeds) {
    Series series{.name = name, .colour = colour};
    if (seeds.empty()) return series;
    for (const auto& [x, first] : seeds[0]) {
        double sum = 0, low = INFINITY, high = -INFINITY;
        const bool all = std::all_of(seeds.begin(), seeds.end(), [&, x = x](const Points& seed) {
            const auto at = seed.find(x);
            if (at == seed.end()) return false;
            sum += at->second;
            low = std::min(low, at->second);
            high = std::max(high, at->second);
            return true;
        });
        if (!all) continue;
        series.x.push_back(x);
        series.y.push_back(sum / static_cast<double>(seeds.size()));
        if (seeds.size() < 2) continue;
        series.low.push_back(low);
        series.high.push_back(high);
    }
    return series;
}

/// What a training logged about its loss: by step, and in each part of the times from t = 0 on, the mean of the last
/// quarter of the lines. What held-out examples gave with the weights that are sampled: by step, and the last by
/// log-SNR.
struct LossLog {
    Points by_step;
    std::vector<double> by_time;
    Points held_out, held_out_by_log_snr;
};

/// The held-out error by log-SNR of a line that has one.
Points by_log_snr(const json& line) {
    const auto levels = line.value("validate/log_snr", json::array());
    auto errors = line.value("validate/average_error_by_level", json::array());
    if (errors.empty()) errors = line.value("validate/error_by_level", json::array());
    Points points;
    for (std::size_t i = 0; i < std::min(levels.size(), errors.size()); ++i)
        if (levels[i].is_number() && errors[i].is_number()) points[levels[i].get<double>()] = errors[i].get<double>();
    return points;
}

LossLog read_loss_log(const fs::path& file) {
    LossLog log;
    std::vector<std::vector<double>> by_time;
    for (const auto& line : read_json_lines(file)) {
        if (line.contains("train/loss") && line["train/loss"].is_number())
            log.by_step[line.value("step", 0.0)] = line["train/loss"].get<double>();
        if (const auto one = validated_in(line); one && std::isfinite(one->of_sampled())) {
            log.held_out[static_cast<double>(one->step)] = one->of_sampled();
            log.held_out_by_log_snr = by_log_snr(line);
        }
        if (const auto values = line.value("train/loss_by_noise", json::array()); !values.empty()) {
            by_time.emplace_back();
            for (const auto& value : values)
                by_time.back().push_back(value.is_number() ? value.get<double>() : std::nan(""));
        }
    }
    if (by_time.empty()) return log;
    const auto begin = by_time.size() - (by_time.size() + 3) / 4;
    for (std::size_t part = 0; part < by_time.back().size(); ++part) {
        double sum = 0, n = 0;
        for (auto line = begin; line < by_time.size(); ++line) {
            if (part >= by_time[line].size() || !std::isfinite(by_time[line][part])) continue;
            sum += by_time[line][part];
            n += 1;
        }
        log.by_time.push_back(n > 0 ? sum / n : std::nan(""));
    }
    return log;
}

/// Of every seed of an arm.
std::vector<LossLog> training_logs(const Drawn& drawn, std::size_t arm) {
    std::vector<LossLog> logs;
    for (const auto& cell : drawn.study.cells) {
        // Cells that differ in what is drawn share the training.
        if (cell.arm != arm || !cell.stream.empty() ||
            (cell.sample_seed && cell.sample_seed != drawn.study.sample_seeds.front()))
            continue;
        const auto& task = drawn.study.task(cell.task);
        auto log = read_loss_log(
            folder_of(task.needs.empty() ? task : drawn.study.task(task.needs), drawn.folder, drawn.accept_rebuilt) /
            "metrics.jsonl");
        if (!log.by_step.empty()) logs.push_back(std::move(log));
    }
    return logs;
}

std::string fixed(double value, int places) {
    return (value < 0 ? "−" : "") + fmt::format("{:.{}f}", std::abs(value), places);
}

std::string section(const Drawn& drawn, const std::string& heading, const page::Figure& figure) {
    return fmt::format("<h3>{}</h3>\n{}", heading, drawn.pictures.add(figure));
}

std::string axis_label(const MetricResults& metric) {
    return fmt::format("{}{}, {}", metric.name, metric.unit.empty() ? "" : " in " + metric.unit,
                       metric.less() ? "less is better" : "more is better");
}

}  // namespace

page::Figure comparisons_figure(const Drawn& drawn, const std::string& metric) {
    const auto& study = drawn.study;
    const auto& found = drawn.results.metrics.at(metric);
    struct Row {
        std::string name;
        const Difference* difference;
        std::size_t arm;
    };
    std::vector<Row> rows;
    for (const auto& pair : found.pairs)
        rows.push_back({fmt::format("{} − {}", study.arms[pair.second].name, study.arms[pair.first].name),
                        &pair.difference, pair.second});
    for (std::size_t arm = 0; found.pairs.empty() && arm < found.arms.size(); ++arm)
        if (arm != study.baseline)
            rows.push_back({fmt::format("{} − {}", study.arms[arm].name, study.arms[study.baseline].name),
                            &found.arms[arm].difference, arm});
    Chart chart{
        .title = "differences in " + metric,
        .x_label = fmt::format("difference in {}; {} is better", metric, found.less() ? "to the left" : "to the right"),
        .height = 110 + (rows.size() > 10 ? 36 : 48) * static_cast<int>(rows.size())};
    page::Table numbers{.caption = "Differences in " + escaped(metric),
                        .head = {"comparison", "difference", "simultaneous interval", "verdict"}};
    std::vector<std::string> words;
    double least = 0, most = 0;
    for (const auto& [name, d, arm] : rows) {
        chart.rows.push_back(name);
        const auto y = static_cast<double>(chart.rows.size());
        const auto verdict = name_of(verdict_of(*d, found));
        numbers.rows.push_back(
            {{escaped(name), shown(d->estimate.n ? d->estimate.mean : NAN),
              d->simultaneous ? fmt::format("{} … {}", shown(d->simultaneous->first), shown(d->simultaneous->second))
                              : "–",
              verdict}});
        words.push_back(fmt::format("{} {}", name, verdict));
        if (d->estimate.n == 0 || !std::isfinite(d->estimate.mean)) continue;
        const auto ends = d->simultaneous.value_or(Interval{d->estimate.mean, d->estimate.mean});
        least = std::min(least, ends.first);
        most = std::max(most, ends.second);
        chart.series.push_back({.x = {d->estimate.mean},
                                .y = {y},
                                .low = {ends.first},
                                .high = {ends.second},
                                .style = Series::Style::intervals,
                                .colour = colour_of(drawn.lines, arm)});
    }
    // A line at 0, or the band of differences that do not matter.
    if (found.smallest > 0)
        chart.x_band = std::pair{-found.smallest, found.smallest};
    else if (least < most)
        chart.x_band = std::pair{-(most - least) / 600, (most - least) / 600};
    return {std::move(chart),
            fmt::format("Interval chart of the differences in {}: {}.", metric, fmt::join(words, ", ")),
            fmt::format("Differences seed by seed with simultaneous {:g} % intervals. One that leaves out 0 decides{}.",
                        100 * study.level,
                        found.smallest > 0 ? "; the grey band holds differences that are said not to matter" : ""),
            std::move(numbers)};
}

page::Figure seeds_figure(const Drawn& drawn, const std::string& metric) {
    const auto& study = drawn.study;
    const auto& found = drawn.results.metrics.at(metric);
    const auto count = found.arms.size();
    Chart chart{.title = metric,
                .x_label = axis_label(found),
                .height = 100 + (count > 10 ? 40 : 58) * static_cast<int>(count)};
    page::Table numbers{.caption = escaped(metric) + " of every seed", .head = {"arm"}};
    for (const auto seed : study.seeds) numbers.head.push_back(fmt::format("seed {}", seed));
    const auto place = [](std::size_t arm) { return static_cast<double>(arm + 1); };
    // Each seed a line from arm to arm: lines side by side mean that a seed is worth the same to all.
    constexpr std::size_t few_seeds = 12;
    for (std::size_t seed = 0; count > 1 && study.seeds.size() <= few_seeds && seed < study.seeds.size(); ++seed) {
        Series line{.colour = Series::grey};
        for (std::size_t arm = 0; arm < count; ++arm) {
            line.x.push_back(found.arms[arm].compared[seed].value_or(NAN));
            line.y.push_back(place(arm) - 0.12);
        }
        chart.series.push_back(std::move(line));
    }
    std::vector<double> all;
    std::vector<std::pair<std::string, double>> means;
    for (std::size_t arm = 0; arm < count; ++arm) {
        const auto& s = found.arms[arm];
        const auto colour = colour_of(drawn.lines, arm);
        Series seeds{.style = Series::Style::points, .colour = colour};
        page::Table::Row cells{{escaped(study.arms[arm].name)}};
        for (const auto& value : s.compared) {
            seeds.x.push_back(value.value_or(NAN));
            seeds.y.push_back(place(arm) - 0.12);
            all.push_back(value.value_or(NAN));
            cells.cells.push_back(value && std::isinf(*value) ? "none" : shown(value.value_or(NAN)));
        }
        chart.rows.push_back(study.arms[arm].name);
        chart.series.push_back(std::move(seeds));
        numbers.rows.push_back(std::move(cells));
        if (!s.has_mean()) continue;
        means.emplace_back(study.arms[arm].name, s.mean.mean);
        const auto ends = s.mean.interval.value_or(std::pair{s.mean.mean, s.mean.mean});
        chart.series.push_back({.x = {s.mean.mean},
                                .y = {place(arm) + 0.16},
                                .low = {ends.first},
                                .high = {ends.second},
                                .style = Series::Style::intervals,
                                .colour = colour});
    }
    chart.log_x = spans_decades(all);
    std::string truth;
    if (const auto& s = found.arms[study.baseline]; std::isfinite(s.expected)) {
        chart.x_band = found.nearest() ? std::pair{0.0, s.expected_sd}
                                       : std::pair{s.expected - s.expected_sd, s.expected + s.expected_sd};
        truth = found.nearest() ? ", grey one standard deviation of true samples"
                                : ", grey what true samples give, ± a standard deviation";
    }
    return {
        std::move(chart),
        fmt::format("Dot chart of {} by arm, {}. Means: {}.", metric,
                    found.less() ? "less is better" : "more is better", spoken(means)),
        fmt::format("Every seed a dot, the dots of one seed joined by a line; below them their mean with its {:g} % "
                    "interval{}. A cell without a number has no dot.",
                    100 * study.level, truth),
        std::move(numbers)};
}

page::Figure power_figure(const Drawn& drawn, const std::string& metric) {
    const auto& study = drawn.study;
    const auto& found = drawn.results.metrics.at(metric);
    Chart chart{.title = "what more seeds would find",
                .x_label = "seeds",
                .y_label = fmt::format("difference in {}", metric),
                .log_x = true,
                .log_y = true,
                .height = 400};
    // From few seeds to some times as many as there are.
    std::vector<double> seeds;
    for (double n = 3; n <= std::max(48.0, 8.0 * static_cast<double>(study.seeds.size())); n = std::floor(n * 1.6))
        seeds.push_back(n);
    std::vector<std::pair<std::string, double>> words;
    for (std::size_t arm = 0; arm < found.arms.size(); ++arm) {
        const auto& d = found.arms[arm].difference;
        if (arm == study.baseline || !d.simultaneous) continue;
        Series line{.name = study.arms[arm].name, .x = seeds, .colour = colour_of(drawn.lines, arm)};
        for (const double n : seeds)
            line.y.push_back(detectable_difference(d.estimate.sd, static_cast<std::size_t>(n), found.family.error()));
        words.emplace_back(study.arms[arm].name, *d.detectable);
        chart.series.push_back(std::move(line));
        chart.series.push_back({.x = {static_cast<double>(d.estimate.n)},
                                .y = {*d.detectable},
                                .style = Series::Style::points,
                                .open = true,
                                .colour = colour_of(drawn.lines, arm)});
    }
    if (found.smallest > 0)
        chart.series.push_back({.name = "the least that matters",
                                .x = seeds,
                                .y = std::vector<double>(seeds.size(), found.smallest),
                                .colour = Series::grey});
    return {std::move(chart),
            fmt::format("Line chart of the least difference in {} that is found 8 times in 10, against the number of "
                        "seeds; with those there are: {}.",
                        metric, spoken(words)),
            fmt::format("The least true difference that so many seeds would find 8 times in 10, each comparison at "
                        "{:.2g} %. The outlined mark stands at the seeds there are.",
                        100 * found.family.error()),
            {}};
}

page::Figure scatter_figure(const Drawn& drawn, const std::string& metric) {
    const auto& study = drawn.study;
    const auto& found = drawn.results.metrics.at(metric);
    std::vector<std::pair<std::string, VarianceComponent>> parts;
    for (const auto& one : scatter_by_stream(study, found, study.baseline))
        parts.emplace_back(one.stream.empty() ? "training" : one.stream + " alone", one.training);
    if (const auto both = components(compared_cells(found.arms[study.baseline]), study.seeds.size(), study.level)) {
        parts.emplace_back("drawing, alike for all", both->drawing);
        parts.emplace_back("drawing, for one training", both->rest);
    }
    Chart chart{.title = "scatter of " + metric,
                .x_label = fmt::format("standard deviation of {}", metric),
                .height = 110 + 44 * static_cast<int>(parts.size())};
    page::Table numbers{.caption = fmt::format("Standard deviations of {} of {}", escaped(metric),
                                               escaped(study.arms[study.baseline].name)),
                        .head = {"what varies", "standard deviation", "interval"}};
    std::vector<std::pair<std::string, double>> words;
    for (const auto& [name, part] : parts) {
        const double sd = std::sqrt(part.variance), low = std::sqrt(part.interval.first),
                     high = std::sqrt(part.interval.second);
        chart.rows.push_back(name);
        chart.series.push_back({.x = {sd},
                                .y = {static_cast<double>(chart.rows.size())},
                                .low = {low},
                                .high = {high},
                                .style = Series::Style::intervals,
                                .colour = 0});
        numbers.rows.push_back({{escaped(name), shown(sd, 3), fmt::format("{} … {}", shown(low, 2), shown(high, 2))}});
        words.emplace_back(name, sd);
    }
    return {std::move(chart),
            fmt::format("Interval chart of the standard deviation of {} by what varies: {}.", metric, spoken(words)),
            fmt::format("How far {} of {} is moved by what varies, with {:g} % intervals. What is short beside the "
                        "rest is not worth more seeds.",
                        escaped(metric), escaped(study.arms[study.baseline].name), 100 * study.level),
            std::move(numbers)};
}

std::string convergence_html(const Drawn& drawn, const std::string& metric) {
    const auto& found = drawn.results.metrics.at(metric);
    Chart chart{.title = fmt::format("{} against network evaluations", metric),
                .x_label = "network evaluations for each sample",
                .y_label = metric,
                .log_x = true,
                .log_y = true,
                .height = 480};
    page::Table slopes{
        .caption = fmt::format(
            "Measured slopes: the exponent k of {} ∝ evaluations<sup>k</sup>, by least squares in both logarithms.",
            escaped(metric)),
        .head = {"arms", "slope k", "standard error", fmt::format("{:g} % interval", 100 * drawn.study.level), "seeds",
                 "points"}};
    std::vector<std::pair<std::string, double>> spoken_slopes;
    double first = INFINITY, last = 0;
    bool some_left_out = false;
    for (std::size_t line = 0; line < drawn.lines.size(); ++line) {
        const auto& group = drawn.lines[line];
        if (group.arms.size() < 2) continue;
        const auto slope = slope_of(group, drawn.results, metric, drawn.study.level);
        const auto& e = slope.estimate;
        Series series{.name = e.n > 0 ? fmt::format("{} (slope {})", group.name, fixed(e.mean, 2)) : group.name,
                      .colour = static_cast<int>(line)};
        std::map<double, std::size_t> by_cost;
        for (const auto arm : group.arms)
            if (found.arms[arm].has_mean() && std::isfinite(drawn.results.costs[arm].evaluations))
                by_cost[drawn.results.costs[arm].evaluations] = arm;
        for (const auto& [evaluations, arm] : by_cost) {
            const auto& s = found.arms[arm];
            double least = s.mean.mean, greatest = s.mean.mean;
            for (const auto& one : s.compared) {
                least = std::min(least, one.value_or(least));
                greatest = std::max(greatest, one.value_or(greatest));
            }
            series.x.push_back(evaluations);
            series.y.push_back(s.mean.mean);
            series.low.push_back(least);
            series.high.push_back(greatest);
            first = std::min(first, evaluations);
            last = std::max(last, evaluations);
        }
        chart.series.push_back(std::move(series));
        some_left_out = some_left_out || !slope.left_out.empty();
        if (e.n > 0) spoken_slopes.emplace_back(group.name, e.mean);
        slopes.rows.push_back(
            {{escaped(group.name), e.n > 0 ? fixed(e.mean, 3) : "–",
              e.n > 1 ? fmt::format("{:.2g}", slope.standard_error) : "–",
              e.interval ? fmt::format("{} … {}", fixed(e.interval->first, 3), fixed(e.interval->second, 3))
              : e.n == 1 ? "n = 1, no interval"
                         : "–",
              fmt::format("{}", e.n),
              fmt::format("{} of {}", group.arms.size() - slope.left_out.size(), group.arms.size())}});
    }
    if (chart.series.empty()) return {};
    const auto& base = found.arms[drawn.study.baseline];
    const auto expected = found.nearest() ? base.expected_sd : base.expected;
    if (std::isfinite(expected) && expected > 0 && first < last)
        chart.series.push_back({.name = found.nearest() ? "standard deviation of true samples" : "true samples",
                                .x = {first, last},
                                .y = {expected, expected},
                                .colour = Series::grey});
    return section(
               drawn, "Error against evaluations",
               {std::move(chart),
                fmt::format(
                    "Line chart of {} against network evaluations for each sample, both axes logarithmic. Slopes: {}.",
                    metric, spoken(spoken_slopes)),
                "The means over the seeds; bands go from the least to the greatest."}) +
           page::html(slopes) +
           (some_left_out ? "<p class=\"faint\">Points within two standard deviations of what true samples give have "
                            "nothing left to fall by, and are left out of the slopes.</p>\n"
                          : "");
}

page::Figure cost_figure(const Drawn& drawn, const std::string& metric, const std::vector<double>& cost,
                         const std::string& what) {
    const auto& study = drawn.study;
    const auto& found = drawn.results.metrics.at(metric);
    std::vector<double> quality, shortfall;
    for (const auto& score : found.arms) {
        quality.push_back(score.has_mean() ? score.mean.mean : NAN);
        shortfall.push_back(found.shortfall(quality.back()));
    }
    const auto front = pareto_front(cost, shortfall);
    Chart chart{.title = fmt::format("{} against {}", metric, what),
                .x_label = what,
                .y_label = axis_label(found),
                .log_x = spans_decades(cost),
                .log_y = spans_decades(quality)};
    page::Table numbers{.caption = escaped(chart.title), .head = {"arm", what, metric, "on the Pareto front"}};
    Series stairs{.name = "Pareto front", .colour = Series::grey};
    const auto step_to = [&](double x, double y) {
        stairs.x.push_back(x);
        stairs.y.push_back(y);
    };
    double last = 0;
    for (const double one : cost) last = std::isfinite(one) ? std::max(last, one) : last;
    for (const auto arm : front) {
        if (!stairs.x.empty()) step_to(cost[arm], stairs.y.back());
        step_to(cost[arm], quality[arm]);
    }
    if (!front.empty() && last > stairs.x.back()) step_to(last, stairs.y.back());
    chart.series.push_back(std::move(stairs));
    const auto on_front = [&](std::size_t arm) { return std::find(front.begin(), front.end(), arm) != front.end(); };
    for (std::size_t line = 0; line < drawn.lines.size(); ++line) {
        Series best{.style = Series::Style::points, .colour = static_cast<int>(line)},
            others{.style = Series::Style::points, .open = true, .colour = static_cast<int>(line)};
        for (const auto arm : drawn.lines[line].arms) {
            auto& series = on_front(arm) ? best : others;
            if (!std::isfinite(cost[arm] + quality[arm])) continue;
            series.x.push_back(cost[arm]);
            series.y.push_back(quality[arm]);
        }
        (best.x.empty() ? others : best).name = drawn.lines[line].name;
        if (!best.x.empty()) chart.series.push_back(std::move(best));
        if (!others.x.empty()) chart.series.push_back(std::move(others));
    }
    std::vector<std::string> names;
    for (const auto arm : front) names.push_back(study.arms[arm].name);
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
        numbers.rows.push_back(
            {{escaped(study.arms[arm].name), shown(cost[arm]), shown(quality[arm]), on_front(arm) ? "yes" : ""}});
    const auto listing = names.empty() ? "nothing" : listed(names);
    return {
        std::move(chart),
        fmt::format(
            "Chart of {} against {}: a point for each arm; less cost and {} {} are better. On the Pareto front: {}.",
            metric, what, found.less() ? "less" : "more", metric, listing),
        fmt::format("Filled: on the Pareto front by their means ({}). Open: another arm costs no more and is better.",
                    escaped(listing)),
        std::move(numbers)};
}

namespace {
/// What held-out examples gave, by step and by log-SNR; empty where nobody asked.
std::string held_out_html(const Drawn& drawn, const std::vector<std::vector<LossLog>>& logs) {
    Chart error{.title = "held-out error", .x_label = "step", .y_label = "error", .log_y = true, .height = 440},
        noise{.title = "held-out error by log-SNR",
              .x_label = "log-SNR, noise to the left",
              .y_label = "error",
              .log_y = true,
              .height = 440};
    std::vector<std::pair<std::string, double>> ends;
    for (std::size_t i = 0; i < logs.size(); ++i) {
        std::vector<Points> of_steps, of_noise;
        for (const auto& log : logs[i])
            if (!log.held_out.empty()) of_steps.push_back(log.held_out), of_noise.push_back(log.held_out_by_log_snr);
        const auto& name = drawn.trainings[i].name;
        for (auto& [chart, seeds] : {std::pair{&error, &of_steps}, std::pair{&noise, &of_noise}}) {
            auto series = curve(name, static_cast<int>(i), *seeds);
            if (series.x.empty()) continue;
            if (chart == &error) ends.emplace_back(name, series.y.back());
            for (const double y : series.y) chart->log_y = chart->log_y && y > 0;
            chart->series.push_back(std::move(series));
        }
    }
    if (error.series.empty()) return {};
    auto text =
        "<h2>Held-out error</h2>\n" +
        drawn.pictures.add(page::Figure{
            std::move(error), fmt::format("Line chart of the held-out error by step. At the end: {}.", spoken(ends)),
            "The plain error of the loss on held-out examples with the weights that are sampled, the mean over "
            "the seeds; bands go from the least to the greatest. Every arm and every seed meets the same "
            "examples, times and noise."});
    if (noise.series.empty()) return text;
    return text + drawn.pictures.add(page::Figure{
                      std::move(noise), "Line chart of the held-out error against log-SNR, at the end of the training.",
                      "The same by the log-SNR in the middle of each level, at the end of the training."});
}
}  // namespace

std::string training_html(const Drawn& drawn) {
    Chart loss{.title = "training loss", .x_label = "step", .y_label = "loss", .height = 440},
        noise{.title = "loss by log-SNR", .x_label = "log-SNR, noise to the left", .y_label = "loss", .height = 440};
    std::vector<std::pair<std::string, double>> ends;
    std::vector<double> all;
    bool known = true;
    std::vector<std::vector<LossLog>> logs;
    std::vector<std::optional<Levels>> levels;
    for (const auto& group : drawn.trainings) {
        logs.push_back(training_logs(drawn, group.arms.front()));
        levels.push_back(noise_levels(toml::parse(task_of(drawn.study, group.arms.front()).text), drawn.folder));
        if (!logs.back().empty()) known = known && levels.back();
    }
    if (!known) noise.x_label = "t / T, noise to the right";
    for (std::size_t i = 0; i < drawn.trainings.size(); ++i) {
        const auto& name = drawn.trainings[i].name;
        std::vector<Points> of_steps, of_noise;
        for (const auto& log : logs[i]) {
            of_steps.push_back(log.by_step);
            auto& points = of_noise.emplace_back();
            const auto parts = static_cast<double>(log.by_time.size());
            for (std::size_t part = 0; part < log.by_time.size(); ++part) {
                const double u = (static_cast<double>(part) + 0.5) / parts;
                const double x =
                    known ? levels[i]->log_snr[static_cast<std::size_t>(u * static_cast<double>(levels[i]->steps()))]
                          : u;
                if (std::isfinite(x + log.by_time[part])) points[x] = log.by_time[part];
            }
        }
        const auto colour = static_cast<int>(i);
        if (auto series = curve(name, colour, of_steps); !series.x.empty()) {
            ends.emplace_back(name, series.y.back());
            all.insert(all.end(), series.y.begin(), series.y.end());
            loss.series.push_back(std::move(series));
        }
        if (auto series = curve(name, colour, of_noise); !series.x.empty()) noise.series.push_back(std::move(series));
    }
    if (loss.series.empty()) return {};
    loss.log_y = std::all_of(all.begin(), all.end(), [](double value) { return value > 0; });
    std::vector<std::string> names;
    for (const auto& series : noise.series) names.push_back(series.name);
    auto text =
        "<h2>Training</h2>\n" +
        drawn.pictures.add(page::Figure{
            std::move(loss), fmt::format("Line chart of the training loss by step. At the end: {}.", spoken(ends)),
            "The mean over the seeds; bands go from the least to the greatest. Losses under different schedules are "
            "means over different noise levels, and do not compare; see the next chart."});
    text += held_out_html(drawn, logs);
    if (names.empty()) return text;
    return text + fmt::format("<h2>Loss by {}</h2>\n", known ? "log-SNR" : "time") +
           drawn.pictures.add(page::Figure{
               std::move(noise),
               fmt::format("Line chart of the loss against {} for {}.", known ? "log-SNR" : "time", listed(names)),
               known ? "The loss in each tenth of the times, over the last quarter of the training, at the log-SNR "
                       "that the arm's schedule has in the middle of that tenth. At one log-SNR all arms with the same "
                       "target face the same task."
                     : "The loss in each tenth of the times, over the last quarter of the training. Not every arm's "
                       "log-SNR is known beforehand."});
}

std::string schedules_html(const Drawn& drawn) {
    Chart signal{.title = "signal left", .x_label = "t / T", .y_label = "ᾱ"},
        ratio{.title = "log-SNR", .x_label = "t / T", .y_label = "log(α²/σ²)"};
    Chart weight{.title = "effective weight", .x_label = "log-SNR, noise to the left", .y_label = "weight"};
    // What the times weigh depends on the schedule and on what is learned of it.
    const auto target_of = [](const toml::table& root) {
        const auto target = root["loss"]["target"].value_or(std::string());
        return target == "model" ? root["model"]["prediction"].value_or(std::string()) : target;
    };
    const auto groups = groups_by(drawn.study, [&](std::size_t arm) {
        const auto root = toml::parse(task_of(drawn.study, arm).text);
        const auto* schedule = root["process"]["schedule"].as_table();
        return schedule ? fmt::format("{} {} {}", toml_value(*schedule),
                                      root["process"]["steps"].value_or(std::int64_t{1000}), target_of(root))
                        : std::string();
    });
    bool only_noise = true;
    for (std::size_t group = 0; group < groups.size(); ++group) {
        const auto root = toml::parse(task_of(drawn.study, groups[group].arms.front()).text);
        const auto levels = noise_levels(root, drawn.folder);
        if (!levels) continue;
        const auto target = target_of(root);
        const auto colour = static_cast<int>(group);
        const auto name =
            groups.size() > 1 ? groups[group].name : root["process"]["schedule"]["use"].value_or(std::string());
        Series a{.name = name, .colour = colour}, l = a, w = a;
        const auto steps = levels->steps(), stride = std::max<std::size_t>(1, steps / 200);
        for (std::size_t t = 0; t < steps; t += stride) {
            const double u = static_cast<double>(t + 1) / static_cast<double>(steps), now = levels->log_snr[t];
            a.x.push_back(u);
            a.y.push_back(levels->alpha_bar[t]);
            l.x.push_back(u);
            l.y.push_back(now);
            if (t < stride) continue;
            const double before = levels->log_snr[t - stride], middle = 0.5 * (before + now);
            const double share = static_cast<double>(stride) / static_cast<double>(steps) / (before - now);
            // The error of x_0 is the error of ε times σ/α, that of v is the error of ε divided by α.
            w.x.push_back(middle);
            w.y.push_back(share * (target == "x0" ? std::exp(-middle) : target == "v" ? 1 + std::exp(-middle) : 1));
        }
        only_noise = only_noise && target != "x0" && target != "v";
        signal.series.push_back(std::move(a));
        ratio.series.push_back(std::move(l));
        weight.series.push_back(std::move(w));
    }
    if (signal.series.empty()) return {};
    weight.log_y = !only_noise;
    weight.y_label = only_noise ? "share of the times for each unit of log-SNR" : "weight of the squared error of ε";
    std::vector<std::string> names;
    for (const auto& series : signal.series) names.push_back(series.name);
    const auto who = listed(names);
    return "<h2>Schedules</h2>\n" +
           section(drawn, "Signal left",
                   {std::move(signal), fmt::format("Line chart of alpha bar against time for {}, from 1 to 0.", who),
                    "How much of the signal is left at each time."}) +
           section(
               drawn, "LossLog-SNR",
               {std::move(ratio), fmt::format("Line chart of the log signal-to-noise ratio against time for {}.", who),
                "The same as a signal-to-noise ratio."}) +
           section(
               drawn, "Effective weight",
               {std::move(weight),
                fmt::format("Line chart of the weight that uniform times give each log-SNR, for {}.", who),
                only_noise ? "How much of uniformly drawn times falls to each log-SNR, |dt/dlog-SNR|: for the plain "
                             "ε-loss its weight. Once noise is measured in log-SNR, this is all that a schedule "
                             "changes in the loss (Kingma et al. 2021)."
                           : "How much the squared error of ε counts at each log-SNR under uniformly drawn times: "
                             "|dt/dlog-SNR|, times 1 for targets ε, 1/α² for v, σ²/α² for x₀ (Kingma et al. 2021)."});
}

}  // namespace dtk
