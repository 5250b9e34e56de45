#include "study/charts.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <dtk/error.hpp>
#include <dtk/schedule.hpp>

#include "base/json.hpp"
#include "base/words.hpp"

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
    for (const double value : values)
        if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
    return low > 0 && high > 20 * low;
}

/// The noise levels of an arm's process; nothing where no schedule says them before training, or the plugin is not
/// there.
std::optional<NoiseLevels> noise_levels(const toml::table& root) {
    const auto* schedule = root["process"]["schedule"].as_table();
    if (!schedule) return std::nullopt;
    std::vector<fs::path> folders;
    if (const auto* path = root["plugins"]["path"].as_array())
        for (const auto& one : *path) folders.emplace_back(one.value_or(std::string()));
    try {
        static std::map<std::vector<fs::path>, Registry> registries;
        const auto& registry = registries.try_emplace(folders, plugin_folders(folders)).first->second;
        Mistakes mistakes;
        Reading reading{registry, mistakes, fs::current_path(), {&root}};
        const auto spec = read_plugin(reading, "schedule", schedule, {});
        if (!spec) return std::nullopt;
        return std::static_pointer_cast<Schedule>(spec.make(reading, no_view()))
            ->levels(root["process"]["steps"].value_or(std::int64_t{1000}));
    } catch (const std::exception&) {
        return std::nullopt;
    }
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
            sum += at->second, low = std::min(low, at->second), high = std::max(high, at->second);
            return true;
        });
        if (!all) continue;
        series.x.push_back(x), series.y.push_back(sum / static_cast<double>(seeds.size()));
        if (seeds.size() > 1) series.low.push_back(low), series.high.push_back(high);
    }
    return series;
}

/// What a training logged about its loss: by step, and in each part of the times from t = 0 on, the mean of the last
/// quarter of the lines.
struct Log {
    Points by_step;
    std::vector<double> by_time;
};

Log read_log(const fs::path& file) {
    Log log;
    std::vector<std::vector<double>> by_time;
    for (const auto& line : read_json_lines(file)) {
        if (line.contains("train/loss") && line["train/loss"].is_number())
            log.by_step[line.value("step", 0.0)] = line["train/loss"].get<double>();
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
        for (auto line = begin; line < by_time.size(); ++line)
            if (part < by_time[line].size() && std::isfinite(by_time[line][part])) sum += by_time[line][part], n += 1;
        log.by_time.push_back(n > 0 ? sum / n : std::nan(""));
    }
    return log;
}

/// Of every seed of an arm.
std::vector<Log> training_logs(const Drawn& drawn, std::size_t arm) {
    std::vector<Log> logs;
    for (const auto& cell : drawn.study.cells) {
        if (cell.arm != arm) continue;
        const auto& task = drawn.study.task(cell.task);
        auto log = read_log(
            folder_of(task.needs.empty() ? task : drawn.study.task(task.needs), drawn.folder, drawn.accept_rebuilt) /
            "metrics.jsonl");
        if (!log.by_step.empty()) logs.push_back(std::move(log));
    }
    return logs;
}

std::string fixed(double value, int places) {
    return (value < 0 ? "−" : "") + fmt::format("{:.{}f}", std::abs(value), places);
}

std::string section(const std::string& heading, const page::Figure& figure) {
    return fmt::format("<h3>{}</h3>\n{}", heading, page::html(figure));
}

}  // namespace

page::Figure seeds_figure(const Drawn& drawn, const std::string& metric) {
    const auto& [study, findings] = std::tie(drawn.study, drawn.findings);
    const auto& scores = findings.scores.at(metric);
    Chart chart{.title = metric,
                .x_label = metric + ", less is better",
                .height = 100 + (scores.size() > 10 ? 40 : 58) * static_cast<int>(scores.size())};
    page::Table numbers{.caption = escaped(metric) + " of every seed", .head = {"arm"}};
    for (const auto seed : study.seeds) numbers.head.push_back(fmt::format("seed {}", seed));
    std::vector<double> all;
    std::vector<std::pair<std::string, double>> means;
    for (std::size_t arm = 0; arm < scores.size(); ++arm) {
        const auto& s = scores[arm];
        const auto row = static_cast<double>(arm + 1);
        const auto colour = colour_of(drawn.lines, arm);
        Series seeds{.style = Series::Style::points, .colour = colour};
        page::Table::Row cells{{escaped(study.arms[arm].name)}};
        for (const double distance : s.distances) {
            seeds.x.push_back(distance), seeds.y.push_back(row - 0.12), all.push_back(distance);
            cells.cells.push_back(shown(distance));
        }
        chart.rows.push_back(study.arms[arm].name);
        chart.series.push_back(std::move(seeds));
        numbers.rows.push_back(std::move(cells));
        if (s.distance.n == 0) continue;
        means.emplace_back(study.arms[arm].name, s.distance.mean);
        const auto ends = s.distance.interval.value_or(std::pair{s.distance.mean, s.distance.mean});
        chart.series.push_back({.x = {s.distance.mean},
                                .y = {row + 0.16},
                                .low = {ends.first},
                                .high = {ends.second},
                                .style = Series::Style::intervals,
                                .colour = colour});
    }
    chart.log_x = spans_decades(all);
    std::string truth;
    if (const auto& s = scores[study.baseline]; std::isfinite(s.expected)) {
        chart.x_band = s.two_sided ? std::pair{0.0, s.expected_sd}
                                   : std::pair{s.expected - s.expected_sd, s.expected + s.expected_sd};
        truth = s.two_sided ? ", grey one standard deviation of true samples"
                            : ", grey what true samples give, ± a standard deviation";
    }
    return {std::move(chart), fmt::format("Dot chart of {} by arm, less is better. Means: {}.", metric, spoken(means)),
            fmt::format("Every seed a dot; below the dots their mean with its {:g} % interval{}.", 100 * study.level,
                        truth),
            std::move(numbers)};
}

std::string convergence_html(const Drawn& drawn, const std::string& metric) {
    const auto& scores = drawn.findings.scores.at(metric);
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
        const auto slope = slope_of(group, drawn.findings, metric, drawn.study.level);
        const auto& e = slope.estimate;
        Series series{.name = e.n > 0 ? fmt::format("{} (slope {})", group.name, fixed(e.mean, 2)) : group.name,
                      .colour = static_cast<int>(line)};
        std::map<double, std::size_t> by_cost;
        for (const auto arm : group.arms)
            if (scores[arm].distance.n > 0 && std::isfinite(drawn.findings.costs[arm].evaluations))
                by_cost[drawn.findings.costs[arm].evaluations] = arm;
        for (const auto& [evaluations, arm] : by_cost) {
            const auto& d = scores[arm].distance;
            series.x.push_back(evaluations), series.y.push_back(d.mean);
            double least = d.mean, greatest = d.mean;
            for (const double one : scores[arm].distances)
                if (std::isfinite(one)) least = std::min(least, one), greatest = std::max(greatest, one);
            series.low.push_back(least), series.high.push_back(greatest);
            first = std::min(first, evaluations), last = std::max(last, evaluations);
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
    const auto expected = scores[drawn.study.baseline].two_sided ? scores[drawn.study.baseline].expected_sd
                                                                 : scores[drawn.study.baseline].expected;
    const bool floor = std::isfinite(expected) && expected > 0 && first < last;
    if (floor)
        chart.series.push_back(
            {.name = scores[drawn.study.baseline].two_sided ? "standard deviation of true samples" : "true samples",
             .x = {first, last},
             .y = {expected, expected},
             .colour = Series::grey});
    return section(
               "Error against evaluations",
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
    std::vector<double> distance;
    for (const auto& score : drawn.findings.scores.at(metric))
        distance.push_back(score.distance.n > 0 ? score.distance.mean : std::nan(""));
    const auto front = pareto_front(cost, distance);
    Chart chart{.title = fmt::format("{} against {}", metric, what),
                .x_label = what,
                .y_label = metric,
                .log_x = spans_decades(cost),
                .log_y = spans_decades(distance)};
    page::Table numbers{.caption = escaped(chart.title), .head = {"arm", what, metric, "on the Pareto front"}};
    Series stairs{.name = "Pareto front", .colour = Series::grey};
    double last = 0;
    for (const double one : cost) last = std::isfinite(one) ? std::max(last, one) : last;
    for (const auto arm : front) {
        if (!stairs.x.empty()) stairs.x.push_back(cost[arm]), stairs.y.push_back(stairs.y.back());
        stairs.x.push_back(cost[arm]), stairs.y.push_back(distance[arm]);
    }
    if (!front.empty() && last > stairs.x.back()) stairs.x.push_back(last), stairs.y.push_back(stairs.y.back());
    chart.series.push_back(std::move(stairs));
    const auto on_front = [&](std::size_t arm) { return std::find(front.begin(), front.end(), arm) != front.end(); };
    for (std::size_t line = 0; line < drawn.lines.size(); ++line) {
        Series best{.style = Series::Style::points, .colour = static_cast<int>(line)},
            others{.style = Series::Style::points, .open = true, .colour = static_cast<int>(line)};
        for (const auto arm : drawn.lines[line].arms) {
            auto& series = on_front(arm) ? best : others;
            if (std::isfinite(cost[arm] + distance[arm]))
                series.x.push_back(cost[arm]), series.y.push_back(distance[arm]);
        }
        (best.x.empty() ? others : best).name = drawn.lines[line].name;
        if (!best.x.empty()) chart.series.push_back(std::move(best));
        if (!others.x.empty()) chart.series.push_back(std::move(others));
    }
    std::vector<std::string> names;
    for (const auto arm : front) names.push_back(study.arms[arm].name);
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
        numbers.rows.push_back(
            {{escaped(study.arms[arm].name), shown(cost[arm]), shown(distance[arm]), on_front(arm) ? "yes" : ""}});
    const auto listing = names.empty() ? "nothing" : listed(names);
    return {
        std::move(chart),
        fmt::format("Chart of {} against {}: a point for each arm, less of both is better. On the Pareto front: {}.",
                    metric, what, listing),
        fmt::format("Filled: on the Pareto front by their means ({}). Open: another arm costs no more and is better.",
                    escaped(listing)),
        std::move(numbers)};
}

std::string training_html(const Drawn& drawn) {
    Chart loss{.title = "training loss", .x_label = "step", .y_label = "loss", .height = 440},
        noise{.title = "loss by log-SNR", .x_label = "log-SNR, noise to the left", .y_label = "loss", .height = 440};
    std::vector<std::pair<std::string, double>> ends;
    std::vector<double> all;
    bool known = true;
    std::vector<std::vector<Log>> logs;
    std::vector<std::optional<NoiseLevels>> levels;
    for (const auto& group : drawn.trainings) {
        logs.push_back(training_logs(drawn, group.arms.front()));
        levels.push_back(noise_levels(toml::parse(task_of(drawn.study, group.arms.front()).text)));
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
                    known ? levels[i]->log_snr(static_cast<std::int64_t>(u * static_cast<double>(levels[i]->steps())))
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
        page::html(page::Figure{
            std::move(loss), fmt::format("Line chart of the training loss by step. At the end: {}.", spoken(ends)),
            "The mean over the seeds; bands go from the least to the greatest. Losses under different schedules are "
            "means over different noise levels, and do not compare; see the next chart."});
    if (names.empty()) return text;
    return text + fmt::format("<h2>Loss by {}</h2>\n", known ? "log-SNR" : "time") +
           page::html(page::Figure{
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
        const auto levels = noise_levels(root);
        if (!levels) continue;
        const auto target = target_of(root);
        const auto colour = static_cast<int>(group);
        const auto name =
            groups.size() > 1 ? groups[group].name : root["process"]["schedule"]["use"].value_or(std::string());
        Series a{.name = name, .colour = colour}, l = a, w = a;
        const auto steps = levels->steps(), stride = std::max<std::int64_t>(1, steps / 200);
        for (std::int64_t t = 0; t < steps; t += stride) {
            const double u = static_cast<double>(t + 1) / static_cast<double>(steps), now = levels->log_snr(t);
            a.x.push_back(u), a.y.push_back(levels->alpha_bar(t));
            l.x.push_back(u), l.y.push_back(now);
            if (t < stride) continue;
            const double before = levels->log_snr(t - stride), middle = 0.5 * (before + now);
            const double share = static_cast<double>(stride) / static_cast<double>(steps) / (before - now);
            // The error of x_0 is the error of ε times σ/α, that of v is the error of ε divided by α.
            w.x.push_back(middle), w.y.push_back(share * (target == "x0"  ? std::exp(-middle)
                                                          : target == "v" ? 1 + std::exp(-middle)
                                                                          : 1));
        }
        only_noise = only_noise && target != "x0" && target != "v";
        signal.series.push_back(std::move(a)), ratio.series.push_back(std::move(l)),
            weight.series.push_back(std::move(w));
    }
    if (signal.series.empty()) return {};
    weight.log_y = !only_noise;
    weight.y_label = only_noise ? "share of the times for each unit of log-SNR" : "weight of the squared error of ε";
    std::vector<std::string> names;
    for (const auto& series : signal.series) names.push_back(series.name);
    const auto who = listed(names);
    return "<h2>Schedules</h2>\n" +
           section("Signal left",
                   {std::move(signal), fmt::format("Line chart of alpha bar against time for {}, from 1 to 0.", who),
                    "How much of the signal is left at each time."}) +
           section("Log-SNR", {std::move(ratio),
                               fmt::format("Line chart of the log signal-to-noise ratio against time for {}.", who),
                               "The same as a signal-to-noise ratio."}) +
           section(
               "Effective weight",
               {std::move(weight),
                fmt::format("Line chart of the weight that uniform times give each log-SNR, for {}.", who),
                only_noise ? "How much of uniformly drawn times falls to each log-SNR, |dt/dlog-SNR|: for the plain "
                             "ε-loss its weight. Once noise is measured in log-SNR, this is all that a schedule "
                             "changes in the loss (Kingma et al. 2021)."
                           : "How much the squared error of ε counts at each log-SNR under uniformly drawn times: "
                             "|dt/dlog-SNR|, times 1 for targets ε, 1/α² for v, σ²/α² for x₀ (Kingma et al. 2021)."});
}

}  // namespace dtk
