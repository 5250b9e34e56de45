#include "study/report.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>

#include <openssl/evp.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <dtk/schedule.hpp>

#include "base/build.hpp"
#include "base/files.hpp"
#include "base/picture.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

const char* const style = R"(
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --faint: #6b6b6b; --line: #d9d9d9; --card: #f6f6f4 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e3; --paper: #16181a; --faint: #a5a29c; --line: #3a3d40; --card: #1f2225 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; line-height: 1.25 } h2 { font-size: 1.2rem; margin-top: 2.5rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
caption { text-align: left; color: var(--faint); padding-bottom: .4rem }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap } th:first-child, td:first-child { text-align: left }
tr.baseline { background: var(--card) } .faint { color: var(--faint) }
figure { margin: 1rem 0 } figure > div { background: #fff; border-radius: 6px; padding: .5rem; overflow-x: auto } figure svg { max-width: 100%; height: auto }
figcaption { color: var(--faint) } .samples { display: flex; flex-wrap: wrap; gap: 1rem } .samples img { width: 14rem; max-width: 100%; image-rendering: pixelated; background: #fff }
details { margin: .5rem 0; border-top: 1px solid var(--line); padding-top: .5rem } summary { cursor: pointer } pre { overflow-x: auto; background: var(--card); padding: .7rem; border-radius: 6px; font-size: .85rem }
.warning { border-left: 4px solid #c77700; padding-left: .8rem }
@media print { body { max-width: none } details { display: block } }
)";

std::string escaped(std::string_view text) {
    std::string safe;
    for (const char c : text) {
        switch (c) {
            case '&': safe += "&amp;"; break;
            case '<': safe += "&lt;"; break;
            case '>': safe += "&gt;"; break;
            case '"': safe += "&quot;"; break;
            default: safe += c;
        }
    }
    return safe;
}

std::string base64(const std::string& bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    const int size = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

std::string shown(double value) { return std::isfinite(value) ? fmt::format("{:.4g}", value) : std::string("–"); }

std::string shown(const std::optional<std::pair<double, double>>& interval, std::size_t n) {
    if (n == 0) return "–";
    return interval ? fmt::format("{:.4g} … {:.4g}", interval->first, interval->second) : std::string("n = 1, no interval");
}

/// A chart inside the page, and its numbers in a table behind it. Without gnuplot only the numbers.
class Figures {
 public:
    explicit Figures(fs::path folder) : folder_(std::move(folder)) {}

    std::string figure(const Chart& chart, const std::string& caption) {
        std::string drawing;
        try {
            const auto file = folder_ / fmt::format(".figure{}.svg", ++count_);
            write_chart(file, chart);
            drawing = read_file(file);
            fs::remove(file);
            if (const auto begin = drawing.find("<svg"); begin != drawing.npos) drawing.erase(0, begin);
        } catch (const Error& error) {
            drawing = fmt::format("<p>No picture: {}.</p>", escaped(error.what()));
        }
        return fmt::format("<figure><div role=\"img\" aria-label=\"{}\">{}</div><figcaption>{}</figcaption>{}</figure>\n", escaped(chart.title), drawing, escaped(caption), numbers(chart));
    }

 private:
    static std::string numbers(const Chart& chart) {
        std::string rows;
        for (const auto& series : chart.series) {
            const auto step = std::max<std::size_t>(1, series.x.size() / 25);
            for (std::size_t i = 0; i < series.x.size(); i += step)
                rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>", escaped(series.name), shown(series.x[i]), shown(series.y[i]));
        }
        return fmt::format("<details><summary>The numbers</summary><div class=\"scroll\"><table><thead><tr><th>{}</th><th>{}</th><th>{}</th></tr></thead><tbody>{}</tbody></table></div></details>",
                           "series", escaped(chart.x_label), escaped(chart.y_label), rows);
    }
    fs::path folder_;
    int count_ = 0;
};

std::string table_html(const Study& study, const Findings& findings, const std::string& metric) {
    const auto& scores = findings.scores.at(metric);
    std::string rows;
    for (std::size_t arm = 0; arm < scores.size(); ++arm) {
        const auto& s = scores[arm];
        const auto& d = s.difference;
        const bool base = arm == study.baseline;
        rows += fmt::format("<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", base ? " class=\"baseline\"" : "", escaped(study.arms[arm].name),
                            s.distance.n ? shown(s.distance.mean) : "–", shown(s.distance.interval, s.distance.n), s.distance.n, base ? "baseline" : d.estimate.n ? fmt::format("{:+.3g}", d.estimate.mean) : "–",
                            base ? "" : shown(d.estimate.interval, d.estimate.n), base ? "" : shown(d.simultaneous, d.estimate.n), d.p_holm ? fmt::format("{:.2g}", *d.p_holm) : "",
                            s.rank.n ? fmt::format("{:.2f}{}", s.rank.mean, s.rank.interval ? fmt::format(" ({:.2f} … {:.2f})", s.rank.interval->first, s.rank.interval->second) : "") : "–");
    }
    const auto& first = scores[study.baseline];
    const auto floor = std::isfinite(first.expected) ? fmt::format(" True samples give {:.4g} ± {:.2g} (standard deviation).", first.expected, first.expected_sd) : std::string();
    return fmt::format(
        "<div class=\"scroll\"><table><caption>{}: {}. Less is better{}.{}</caption><thead><tr><th scope=\"col\">arm</th><th scope=\"col\">mean</th><th scope=\"col\">{:g} % interval</th><th scope=\"col\">n</th>"
        "<th scope=\"col\">difference</th><th scope=\"col\">interval</th><th scope=\"col\">simultaneous</th><th scope=\"col\">Holm p</th><th scope=\"col\">rank</th></tr></thead><tbody>\n{}</tbody></table></div>\n",
        escaped(metric), escaped(findings.notes.count(metric) ? findings.notes.at(metric) : "no result"),
        std::isfinite(first.expected) ? ", where the metric has two sides the distance from what true samples give" : "", floor, 100 * study.level, rows);
}

Chart seeds_chart(const Study& study, const Findings& findings, const std::string& metric) {
    Chart chart{.title = metric + ", every seed a dot, the line its mean", .x_label = "arm", .y_label = metric};
    const auto& scores = findings.scores.at(metric);
    for (std::size_t arm = 0; arm < scores.size(); ++arm) {
        Series dots{.name = study.arms[arm].name, .style = Series::Style::points}, mean{};
        const auto n = scores[arm].distances.size();
        for (std::size_t i = 0; i < n; ++i) {
            dots.x.push_back(static_cast<double>(arm + 1) + 0.3 * (n > 1 ? static_cast<double>(i) / static_cast<double>(n - 1) - 0.5 : 0));
            dots.y.push_back(scores[arm].distances[i]);
        }
        chart.series.push_back(std::move(dots));
        if (scores[arm].distance.n > 0) {
            mean.x = {static_cast<double>(arm) + 0.75, static_cast<double>(arm) + 1.25}, mean.y = {scores[arm].distance.mean, scores[arm].distance.mean};
            if (const auto& interval = scores[arm].distance.interval) mean.low = {interval->first, interval->first}, mean.high = {interval->second, interval->second};
            chart.series.push_back(std::move(mean));
        }
    }
    chart.x_range = std::pair{0.4, static_cast<double>(scores.size()) + 0.6};
    return chart;
}

Chart cost_chart(const Study& study, const Findings& findings, const std::string& metric) {
    const bool by_evaluations = std::any_of(findings.costs.begin(), findings.costs.end(), [&](const Cost& cost) { return cost.evaluations != findings.costs[0].evaluations; });
    Chart chart{.title = fmt::format("{} against {}", metric, by_evaluations ? "network evaluations" : "seconds of training and sampling"),
                .x_label = by_evaluations ? "network evaluations for each sample" : "seconds", .y_label = metric, .log_x = by_evaluations, .log_y = by_evaluations};
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        const auto& cost = findings.costs[arm];
        const auto& distance = findings.scores.at(metric)[arm].distance;
        const double seconds = (std::isfinite(cost.train_seconds) ? cost.train_seconds : 0) + cost.sample_seconds;
        if (distance.n > 0) chart.series.push_back({.name = study.arms[arm].name, .x = {by_evaluations ? cost.evaluations : seconds}, .y = {distance.mean}, .style = Series::Style::points});
    }
    return chart;
}

/// Lines of metrics.jsonl of every training of an arm.
std::vector<std::vector<json>> training_logs(const Study& study, std::size_t arm, const fs::path& folder, bool accept_rebuilt) {
    std::vector<std::vector<json>> all;
    for (const auto& cell : study.cells) {
        if (cell.arm != arm) continue;
        const auto& task = study.task(cell.task);
        std::ifstream in(folder_of(study, task.needs.empty() ? task : study.task(task.needs), folder, accept_rebuilt) / "metrics.jsonl");
        auto& log = all.emplace_back();
        for (std::string line; std::getline(in, line);)
            if (auto one = json::parse(line, nullptr, false); one.is_object()) log.push_back(std::move(one));
    }
    return all;
}

/// The mean over seeds at each place that all of them have, and from the least to the greatest as a band.
Series curve(const std::string& name, const std::vector<std::vector<std::pair<double, double>>>& seeds) {
    Series series{.name = name};
    std::size_t length = seeds.empty() ? 0 : seeds[0].size();
    for (const auto& seed : seeds) length = std::min(length, seed.size());
    for (std::size_t i = 0; i < length; ++i) {
        double sum = 0, low = INFINITY, high = -INFINITY;
        for (const auto& seed : seeds) sum += seed[i].second, low = std::min(low, seed[i].second), high = std::max(high, seed[i].second);
        series.x.push_back(seeds[0][i].first), series.y.push_back(sum / static_cast<double>(seeds.size()));
        series.low.push_back(low), series.high.push_back(high);
    }
    return series;
}

std::string training_figures(const Study& study, const fs::path& folder, bool accept_rebuilt, Figures& figures) {
    Chart loss{.title = "training loss", .x_label = "step", .y_label = "loss", .log_y = true}, noise{.title = "loss by noise level", .x_label = "t / T (0 least noisy)", .y_label = "loss"};
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        std::vector<std::vector<std::pair<double, double>>> of_steps, of_noise;
        for (const auto& log : training_logs(study, arm, folder, accept_rebuilt)) {
            auto& steps = of_steps.emplace_back();
            for (const auto& line : log)
                if (line.contains("train/loss") && line["train/loss"].is_number()) steps.emplace_back(line.value("step", 0.0), line["train/loss"].get<double>());
            auto& levels = of_noise.emplace_back();
            if (!log.empty() && log.back().contains("train/loss_by_noise")) {
                const auto& values = log.back()["train/loss_by_noise"];
                for (std::size_t i = 0; i < values.size(); ++i)
                    if (values[i].is_number()) levels.emplace_back((static_cast<double>(i) + 0.5) / static_cast<double>(values.size()), values[i].get<double>());
            }
        }
        if (auto series = curve(study.arms[arm].name, of_steps); !series.x.empty()) loss.series.push_back(std::move(series));
        if (auto series = curve(study.arms[arm].name, of_noise); !series.x.empty()) noise.series.push_back(std::move(series));
    }
    if (loss.series.empty()) return {};
    return "<h2>Training</h2>\n" + figures.figure(loss, "The mean over the seeds; the band goes from the least to the greatest. Losses of arms with different schedules are not comparable with each other.") +
           figures.figure(noise, "In each tenth of the times, in the last interval that was logged.");
}

std::string schedule_figures(const Study& study, Figures& figures) {
    Chart alpha_bar{.title = "signal left, ᾱ", .x_label = "t / T", .y_label = "ᾱ"}, log_snr{.title = "log SNR", .x_label = "t / T", .y_label = "log(α²/σ²)"};
    Chart weight{.title = "share of the uniform t at each log SNR", .x_label = "log SNR", .y_label = "density"};
    std::vector<std::string> seen;
    for (const auto& arm : study.arms) {
        const auto number = static_cast<std::size_t>(&arm - study.arms.data());
        const auto cell = std::find_if(study.cells.begin(), study.cells.end(), [&](const Cell& one) { return one.arm == number; });
        const auto root = toml::parse(study.task(cell->task).text);
        const auto* schedule = root["process"]["schedule"].as_table();
        if (!schedule) continue;
        const auto steps = root["process"]["steps"].value_or(std::int64_t{1000});
        if (const auto key = fmt::format("{} {}", toml_value(*schedule), steps); std::find(seen.begin(), seen.end(), key) != seen.end()) continue;
        else seen.push_back(key);
        Mistakes mistakes;
        std::vector<fs::path> folders;
        if (const auto* path = root["plugins"]["path"].as_array())
            for (const auto& one : *path) folders.emplace_back(one.value_or(std::string()));
        const Registry registry(plugin_folders(folders));
        Reading reading{registry, mistakes, fs::current_path(), {&root}};
        const auto spec = read_plugin(reading, "schedule", schedule, {});
        if (!spec) continue;
        const auto levels = std::static_pointer_cast<Schedule>(spec.make(reading, no_view()))->levels(steps);
        Series a{.name = arm.name}, l{.name = arm.name}, w{.name = arm.name};
        const auto stride = std::max<std::int64_t>(1, steps / 200);
        for (std::int64_t t = 0; t < steps; t += stride) {
            const double u = static_cast<double>(t + 1) / static_cast<double>(steps);
            a.x.push_back(u), a.y.push_back(levels.alpha_bar(t));
            l.x.push_back(u), l.y.push_back(levels.log_snr(t));
            if (t >= stride) w.x.push_back(0.5 * (levels.log_snr(t) + levels.log_snr(t - stride))), w.y.push_back(static_cast<double>(stride) / static_cast<double>(steps) / (levels.log_snr(t - stride) - levels.log_snr(t)));
        }
        alpha_bar.series.push_back(std::move(a)), log_snr.series.push_back(std::move(l)), weight.series.push_back(std::move(w));
    }
    if (alpha_bar.series.empty()) return {};
    return "<h2>Schedules</h2>\n" + figures.figure(alpha_bar, "How much of the signal is left at each time.") + figures.figure(log_snr, "The same as a signal-to-noise ratio.") +
           figures.figure(weight, "How much training time each noise level gets: what a schedule changes in the loss once time is measured in log SNR (Kingma et al. 2021).");
}

std::string samples_html(const Study& study, const fs::path& folder, bool accept_rebuilt) {
    std::string pictures;
    for (const auto& cell : study.cells) {
        if (cell.seed != study.seeds.front()) continue;
        for (const auto* name : {"samples.png", "samples.svg"}) {
            const auto file = folder_of(study, study.task(cell.task), folder, accept_rebuilt) / name;
            if (!fs::exists(file)) continue;
            const auto kind = file.extension() == ".png" ? "image/png" : "image/svg+xml";
            pictures += fmt::format("<figure><img src=\"data:{};base64,{}\" alt=\"samples of {}\"><figcaption>{}</figcaption></figure>\n", kind, base64(read_file(file)), escaped(study.arms[cell.arm].name),
                                    escaped(study.arms[cell.arm].name));
        }
    }
    if (pictures.empty()) return {};
    return fmt::format("<h2>Samples</h2>\n<p class=\"faint\">From the same noise in every arm, seed {}.</p>\n<div class=\"samples\">\n{}</div>\n", study.seeds.front(), pictures);
}

std::string costs_html(const Study& study, const Findings& findings) {
    std::string rows;
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        const auto& c = findings.costs[arm];
        rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", escaped(study.arms[arm].name), shown(c.images), shown(c.parameters), shown(c.evaluations), shown(c.train_seconds), shown(c.sample_seconds));
    }
    return fmt::format("<div class=\"scroll\"><table><caption>What each arm cost, means over the seeds.</caption><thead><tr><th scope=\"col\">arm</th><th scope=\"col\">training examples seen</th><th scope=\"col\">parameters</th>"
                       "<th scope=\"col\">evaluations for each sample</th><th scope=\"col\">seconds of training</th><th scope=\"col\">seconds of sampling</th></tr></thead><tbody>\n{}</tbody></table></div>\n", rows);
}

std::string failures_html(const Study& study, const Findings& findings, const fs::path& folder) {
    std::string text;
    for (const auto& [number, reason] : findings.failures) {
        const auto& cell = study.cells[number];
        const auto& task = study.task(cell.task);
        text += fmt::format("<li>{}, seed {}: {}<br><code>dtk run {}</code></li>\n", escaped(study.arms[cell.arm].name), cell.seed, escaped(reason),
                            escaped((folder / "tasks" / ((task.needs.empty() ? task.id : task.needs) + ".toml")).string()));
    }
    if (text.empty()) return {};
    return fmt::format("<h2>Failed</h2>\n<ul>{}</ul>\n", text);
}

json results_json(const Study& study, const Findings& findings) {
    const auto number = [](double value) { return std::isfinite(value) ? json(value) : json(nullptr); };
    const auto interval = [](const auto& pair) { return pair ? json{pair->first, pair->second} : json(nullptr); };
    json arms = json::array();
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        json one{{"arm", study.arms[arm].name}, {"set", study.arms[arm].set}, {"baseline", arm == study.baseline}};
        for (const auto& metric : study.metrics) {
            const auto& s = findings.scores.at(metric)[arm];
            json values = json::array(), distances = json::array();
            for (const double value : s.values) values.push_back(number(value));
            for (const double value : s.distances) distances.push_back(number(value));
            one["metrics"][metric] = {{"values", values}, {"distances", distances}, {"n", s.distance.n}, {"mean", number(s.distance.n ? s.distance.mean : NAN)}, {"interval", interval(s.distance.interval)},
                                      {"expected", number(s.expected)}, {"expected_sd", number(s.expected_sd)}, {"rank", number(s.rank.n ? s.rank.mean : NAN)}};
            if (arm != study.baseline)
                one["metrics"][metric]["difference"] = {{"n", s.difference.estimate.n}, {"mean", number(s.difference.estimate.n ? s.difference.estimate.mean : NAN)}, {"interval", interval(s.difference.estimate.interval)},
                                                        {"simultaneous", interval(s.difference.simultaneous)}, {"p", s.difference.p ? number(*s.difference.p) : json(nullptr)},
                                                        {"p_holm", s.difference.p_holm ? number(*s.difference.p_holm) : json(nullptr)}, {"skewed", s.difference.skewed}};
        }
        arms.push_back(std::move(one));
    }
    json failures = json::array();
    for (const auto& [cell, reason] : findings.failures) failures.push_back({{"arm", study.arms[study.cells[cell].arm].name}, {"seed", study.cells[cell].seed}, {"reason", reason}});
    return {{"study", study.name}, {"question", study.question}, {"seeds", study.seeds}, {"level", study.level}, {"arms", arms}, {"failures", failures}, {"warnings", findings.warnings}};
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\n") == text.npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

std::string results_csv(const Study& study, const Findings& findings) {
    std::string text = "arm,seed,metric,value,distance\n";
    for (const auto& metric : study.metrics)
        for (std::size_t arm = 0; arm < study.arms.size(); ++arm)
            for (std::size_t seed = 0; seed < study.seeds.size(); ++seed) {
                const auto& s = findings.scores.at(metric)[arm];
                const auto field = [](double value) { return std::isfinite(value) ? fmt::format("{}", value) : std::string(); };
                text += fmt::format("{},{},{},{},{}\n", csv_field(study.arms[arm].name), study.seeds[seed], metric, field(s.values[seed]), field(s.distances[seed]));
            }
    return text;
}

std::string latex(const std::string& text) {
    std::string safe;
    for (const char c : text) safe += std::string_view("&%$#_{}").find(c) != std::string_view::npos ? std::string("\\") + c : std::string(1, c);
    return safe;
}

std::string results_tex(const Study& study, const Findings& findings) {
    std::string text = fmt::format("% {}: mean and {:g} % interval over {} seeds; less is better. Needs \\usepackage{{booktabs}}.\n\\begin{{tabular}}{{l{}}}\n\\toprule\narm", latex(study.name), 100 * study.level,
                                   study.seeds.size(), std::string(study.metrics.size(), 'r'));
    for (const auto& metric : study.metrics) text += " & " + latex(metric);
    text += " \\\\\n\\midrule\n";
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        text += latex(study.arms[arm].name);
        for (const auto& metric : study.metrics) {
            const auto& all = findings.scores.at(metric);
            const auto& e = all[arm].distance;
            const bool best = e.n > 0 && std::all_of(all.begin(), all.end(), [&](const Score& other) { return other.distance.n == 0 || e.mean <= other.distance.mean; });
            text += e.n == 0 ? " & --" : fmt::format(" & {}{:.4g}{}{}", best ? "\\textbf{" : "", e.mean, best ? "}" : "", e.interval ? fmt::format(" [{:.4g}, {:.4g}]", e.interval->first, e.interval->second) : "");
        }
        text += " \\\\\n";
    }
    return text + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace

fs::path write_report(const Study& study, const Findings& findings, const fs::path& folder, bool accept_rebuilt) {
    Figures figures(folder);
    const auto& primary = study.metrics.front();
    std::string verdict;
    for (const auto& sentence : verdicts(study, findings, primary)) verdict += fmt::format("<p>{}</p>\n", escaped(sentence));
    std::string others;
    for (std::size_t i = 1; i < study.metrics.size(); ++i) {
        others += table_html(study, findings, study.metrics[i]) + "<ul>";
        for (const auto& sentence : verdicts(study, findings, study.metrics[i])) others += fmt::format("<li>{}</li>", escaped(sentence));
        others += "</ul>\n";
    }
    std::string warnings;
    for (const auto& warning : findings.warnings) warnings += fmt::format("<p class=\"warning\">{}.</p>\n", escaped(warning));
    if (findings.missing > 0) warnings += fmt::format("<p class=\"warning\">{} of {} cells have not run yet.</p>\n", findings.missing, study.cells.size());
    const auto title = study.question.empty() ? study.name : study.question;
    const auto page = fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n"
        "<h1>{}</h1>\n{}{}{}{}<h2>Quality against cost</h2>\n{}{}{}{}{}{}"
        "<h2>Method and provenance</h2>\n<details><summary>How to read this</summary><p>Every arm ran with the seeds {}. Arms with the same seed share their initial network, the order of the data, the noise and the times, so differences are "
        "taken seed by seed. Intervals are Student's, at {:g} %; the simultaneous ones hold together for all comparisons with the baseline (Bonferroni), and p values are adjusted for their number (Holm 1979). "
        "A metric's distance is the value itself, or, where it has two sides and what true samples give is known, how far it is from that.</p></details>\n"
        "<details><summary>The study's file</summary><pre>{}</pre></details>\n<details><summary>Other metrics</summary>{}</details>\n<details><summary>Build</summary><pre>dtk {}\n{}</pre></details>\n</main>\n</body>\n</html>\n",
        escaped(title), style, escaped(title), verdict, warnings, table_html(study, findings, primary), figures.figure(seeds_chart(study, findings, primary), "Arms from left to right as in the table."),
        figures.figure(cost_chart(study, findings, primary), "The lower left is better and cheaper."), costs_html(study, findings), failures_html(study, findings, folder),
        training_figures(study, folder, accept_rebuilt, figures), schedule_figures(study, figures), samples_html(study, folder, accept_rebuilt), fmt::join(study.seeds, ", "), 100 * study.level, escaped(study.text),
        others.empty() ? "<p>There are none.</p>" : others, version(), escaped(torch_build_text()));
    write_atomically(folder / "results.json", results_json(study, findings).dump(2) + "\n");
    write_atomically(folder / "results.csv", results_csv(study, findings));
    write_atomically(folder / "results.tex", results_tex(study, findings));
    write_atomically(folder / "report.html", page);
    return folder / "report.html";
}

}  // namespace dtk
