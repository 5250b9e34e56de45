// The page of a report.
#include "study/report.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/build.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/tensor_file.hpp"
#include "base/words.hpp"
#include "study/charts.hpp"
#include "study/components.hpp"
#include "study/run_store.hpp"
#include "study/tables.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;
using page::escaped;
using page::shown;

namespace {

std::string interval_html(const Estimate& e) {
    if (e.n == 0) return "–";
    if (e.interval)
        return fmt::format("{} … {}", page::shown(e.interval->first, 3), page::shown(e.interval->second, 3));
    return e.constant ? "does not depend on the seed" : e.n == 1 ? "n = 1, no interval" : "none";
}

std::string interval_html(const Difference& d) {
    if (d.estimate.n == 0) return "–";
    if (d.simultaneous)
        return fmt::format("{} … {}", page::shown(d.simultaneous->first, 3), page::shown(d.simultaneous->second, 3));
    return d.exact ? "no seed matters" : d.estimate.n == 1 ? "n = 1, no interval" : "none";
}

std::string verdict_html(const Difference& difference, const MetricResults& metric) {
    const auto verdict = verdict_of(difference, metric);
    if (verdict == Verdict::better || verdict == Verdict::worse)
        return fmt::format("<strong class=\"{0}\">{0}</strong>", name_of(verdict));
    return name_of(verdict);
}

std::string difference_html(const Difference& d) {
    if (d.estimate.n == 0) return "–";
    if (!std::isfinite(d.estimate.mean)) return "infinite";
    return fmt::format("{}{}{}", d.estimate.mean > 0 ? "+" : "", page::shown(d.estimate.mean, 3),
                       d.skewed.value_or(false) ? " (skewed)" : "");
}

std::string metric_table(const Study& study, const StudyResults& results, const std::string& name) {
    const auto& metric = results.metrics.at(name);
    const auto& base = metric.arms[study.baseline];
    page::Table table{.caption = fmt::format("{}: {}. What counts: {}{}.", escaped(name),
                                             escaped(metric.note.empty() ? "no result" : metric.note),
                                             escaped(direction_text(metric)),
                                             metric.confirmatory ? ""
                                                                 : ". Exploratory: its comparisons are corrected "
                                                                   "for their own number alone"),
                      .head = {"arm", "mean", fmt::format("{:g} % interval", 100 * study.level), "n", "difference",
                               "simultaneous interval", "Holm p", "verdict", "detectable", "rank"}};
    for (std::size_t arm = 0; arm < metric.arms.size(); ++arm) {
        const auto& s = metric.arms[arm];
        const auto& d = s.difference;
        page::Table::Row row{{escaped(study.arms[arm].name), s.has_mean() ? page::shown(s.mean.mean, 3) : "–",
                              s.has_mean() ? interval_html(s.mean) : escaped(mean_text(s)),
                              fmt::format("{}", s.mean.n)}};
        if (arm == study.baseline) {
            row.look = "baseline";
            row.cells.insert(row.cells.end(), {"baseline", "", "", "", ""});
        } else
            row.cells.insert(row.cells.end(),
                             {difference_html(d), interval_html(d), d.p_holm ? fmt::format("{:.2g}", *d.p_holm) : "–",
                              verdict_html(d, metric), d.detectable ? page::shown(*d.detectable, 2) : "–"});
        row.cells.push_back(s.rank.n == 0 ? std::string("–")
                                          : fmt::format("{:.1f}{}", s.rank.mean,
                                                        s.rank.interval
                                                            ? fmt::format(" ({:.1f} … {:.1f})", s.rank.interval->first,
                                                                          s.rank.interval->second)
                                                            : ""));
        table.rows.push_back(std::move(row));
    }
    if (std::isfinite(base.expected)) {
        page::Table::Row row{{"true samples", metric.nearest() ? "0" : page::shown(base.expected, 3),
                              fmt::format("± {:.2g} (sd)", base.expected_sd)},
                             "truth"};
        row.cells.resize(table.head.size());
        table.rows.push_back(std::move(row));
    }
    return page::html(table);
}

std::string sentences_html(const Study& study, const StudyResults& results, const std::string& metric) {
    std::string text;
    for (const auto& sentence : verdicts(study, results, metric))
        text += fmt::format("<li>{}</li>\n", escaped(sentence));
    return "<ul>" + text + "</ul>\n";
}

/// The metrics after the first, each behind what it says.
std::string other_metrics(const Study& study, const StudyResults& results) {
    std::string text;
    for (std::size_t i = 1; i < study.metrics.size(); ++i) {
        const auto& metric = study.metrics[i];
        const auto whole = conclusion(study, results, metric);
        text += page::details(escaped(whole.substr(0, whole.find(". ") + 1)),
                              metric_table(study, results, metric) + sentences_html(study, results, metric));
    }
    if (text.empty()) return text;
    return "<h3>Other metrics</h3>\n" +
           std::string(study.confirm == "all" ? "<p>The comparisons of all metrics hold together.</p>\n"
                                              : "<p class=\"faint\">Exploratory: each is corrected for its own "
                                                "comparisons alone, and together they do not hold at the level that "
                                                "is named.</p>\n") +
           text;
}

std::string cost_section(const Drawn& drawn, const std::string& metric) {
    const auto& costs = drawn.results.costs;
    std::vector<double> evaluations, seconds;
    const bool trained_apart =
        drawn.trainings.size() > 1 &&
        std::any_of(costs.begin(), costs.end(), [](const Cost& cost) { return cost.train_seconds > 0; });
    for (const auto& cost : costs) {
        evaluations.push_back(cost.evaluations);
        seconds.push_back(cost.sample_seconds +
                          (trained_apart && std::isfinite(cost.train_seconds) ? cost.train_seconds : 0));
    }
    const auto first =
        std::find_if(evaluations.begin(), evaluations.end(), [](double value) { return std::isfinite(value); });
    const bool differ = std::any_of(evaluations.begin(), evaluations.end(),
                                    [&](double value) { return std::isfinite(value) && value != *first; });
    auto text = "<h2>Quality against cost</h2>\n" + convergence_html(drawn, metric);
    if (differ)
        text += "<h3>Network evaluations</h3>\n" +
                drawn.pictures.add(cost_figure(drawn, metric, evaluations, "network evaluations for each sample"));
    else if (first != evaluations.end())
        text += fmt::format("<p>Every arm asks the network {:.4g} times for each sample.</p>\n", *first);
    text += "<h3>Seconds</h3>\n" +
            drawn.pictures.add(cost_figure(drawn, metric, seconds,
                                           trained_apart ? "seconds of training and sampling" : "seconds of sampling"));
    page::Table table{
        .caption = "What each arm cost, means over the seeds. Seconds are those of cells that ran beside others.",
        .head = {"arm", "examples seen", "parameters", "evaluations per sample", "training, s", "sampling, s"}};
    for (std::size_t arm = 0; arm < costs.size(); ++arm) {
        const auto& c = costs[arm];
        table.rows.push_back(
            {{escaped(drawn.study.arms[arm].name), std::isfinite(c.images) ? fmt::format("{:.0f}", c.images) : "–",
              std::isfinite(c.parameters) ? fmt::format("{:.0f}", c.parameters) : "–", page::shown(c.evaluations),
              page::shown(c.train_seconds), page::shown(c.sample_seconds)}});
    }
    text += "<h3>Equal cost?</h3>\n" + page::html(table);
    std::vector<std::string> unequal;
    for (const auto& warning : drawn.results.warnings)
        if (warning.starts_with("the arms are not of equal cost"))
            unequal.push_back(warning.substr(warning.find("differ in ") + 10));
    return text + (unequal.empty()
                       ? std::string("<p>All arms saw as many examples, have as many parameters and ask the network as "
                                     "often, as far as that is known.</p>\n")
                       : fmt::format("<p class=\"warning\">Not comparable as they stand: the arms differ in {}.</p>\n",
                                     escaped(listed(unequal))));
}

/// Does the picture have two panels, the data to the left and the samples to the right?
bool in_panels(const fs::path& folder) {
    try {
        const auto tensors = read_tensors(folder / "samples.safetensors");
        const auto samples = tensors.find("samples");
        return samples != tensors.end() && samples->second.shape.size() == 2 && samples->second.shape[1] == 2;
    } catch (const Error&) {
        return false;
    }
}

/// A run's picture of that name as it stands in a page; empty where there is none.
std::string picture_url(const fs::path& folder, const std::string& name) {
    if (const auto png = folder / (name + ".png"); fs::exists(png)) return page::data_url("image/png", read_file(png));
    if (const auto svg = folder / (name + ".svg"); fs::exists(svg))
        return page::data_url("image/svg+xml", read_file(svg));
    return {};
}

std::string samples_html(const Drawn& drawn) {
    const auto& study = drawn.study;
    constexpr std::size_t most = 16;  // a page of hundreds of pictures opens nowhere
    std::string pictures;
    std::size_t count = 0;
    const auto add = [&](const std::string& url, const char* look, const std::string& alt, const std::string& caption) {
        const auto picture = fmt::format("<img src=\"{}\" alt=\"{}\">", url, escaped(alt));
        pictures +=
            fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n",
                        *look ? fmt::format("<div class=\"{}\">{}</div>", look, picture) : picture, escaped(caption));
    };
    for (const auto& cell : study.cells) {
        if (study.place_of(cell) != 0) continue;
        const auto folder = folder_of(study.task(cell.task), drawn.folder, drawn.accept_rebuilt);
        const auto samples = picture_url(folder, "samples");
        if (samples.empty() || ++count > most) continue;
        const auto& arm = study.arms[cell.arm].name;
        const auto panels = fs::exists(folder / "samples.png") && in_panels(folder);
        if (panels && count == 1) add(samples, "half", "The data", "data");
        add(samples, panels ? "half right" : "", fmt::format("Samples of {}, seed {}", arm, cell.seed), arm);
        if (const auto way = picture_url(folder, "trajectory"); !way.empty())
            add(way, "", fmt::format("States on the way to the first samples of {}, seed {}", arm, cell.seed),
                arm + ": x_t and the estimate of x_0 on the way");
    }
    if (pictures.empty()) return {};
    return fmt::format(
        "<h2>Samples</h2>\n<p>Seed {}. Every arm began with the same noise.{}</p>\n<div class=\"row\">\n{}</div>\n",
        study.seeds.front(), count > most ? fmt::format(" The first {} of {} arms.", most, count) : "", pictures);
}

std::string failures_html(const Study& study, const StudyResults& results, const fs::path& folder) {
    if (results.failures.empty()) return {};
    page::Table table{.caption = fmt::format("{} of {} cells failed. The rest is complete without them.",
                                             results.failures.size(), study.cells.size()),
                      .head = {"arm", "seed", "reason", "to see it again"}};
    for (const auto& [number, reason] : results.failures) {
        const auto& cell = study.cells[number];
        table.rows.push_back(
            {{escaped(study.arms[cell.arm].name), fmt::format("{}", cell.seed), escaped(reason),
              fmt::format("<code>{}</code>", escaped(command_of(study, study.task(cell.task), folder)))},
             "words"});
    }
    return "<h2>Failed</h2>\n" + page::html(table);
}

/// What made the results, out of the records of the runs.
std::string provenance_html(const Drawn& drawn) {
    std::set<std::string> builds, hosts;
    std::map<std::string, std::set<std::string>> plugins;
    std::string first, last;
    for (const auto& task : drawn.study.tasks) {
        const auto record = read_json(folder_of(task, drawn.folder, drawn.accept_rebuilt) / "run.json");
        if (!record.is_object()) continue;
        const auto part = [&](const char* key) { return record.value(key, json::object()); };
        builds.insert(fmt::format("dtk {}, {}", part("dtk").value("version", "?"), part("dtk").value("build", "?")));
        hosts.insert(fmt::format("{}: {} × {}, {}, device {}, {} threads for each cell",
                                 part("host").value("name", "?"), part("host").value("cores", 0),
                                 part("host").value("cpu", "?"), part("host").value("os", "?"),
                                 record.value("device", "?"), record.value("threads", 0)));
        for (const auto& plugin : record.value("plugins", json::array()))
            plugins[plugin.value("kind", "") + " " + plugin.value("name", "")].insert(
                plugin.value("sha256", "").substr(0, 16));
        const auto start = record.value("start_time", ""), stop = record.value("stop_time", "");
        if (!start.empty() && (first.empty() || start < first)) first = start;
        if (stop > last) last = stop;
    }
    page::Table table{.caption =
                          "The plugins that trained, with the beginning of their SHA-256. Several beside one name: "
                          "several builds of it.",
                      .head = {"plugin", "file"}};
    for (const auto& [name, hashes] : plugins)
        table.rows.push_back(
            {{escaped(name), fmt::format("<code>{}</code>", escaped(fmt::format("{}", fmt::join(hashes, " "))))},
             "words"});
    const auto list = [](const std::set<std::string>& items) {
        std::string text;
        for (const auto& item : items) text += fmt::format("<li>{}</li>", escaped(item));
        return text;
    };
    return fmt::format("<ul>{}{}{}</ul>\n{}<p>This page was written by dtk {}, {}.</p>\n", list(builds), list(hosts),
                       last.empty() ? "" : fmt::format("<li>Ran from {} to {}</li>", escaped(first), escaped(last)),
                       plugins.empty() ? "" : page::html(table), version(), escaped(torch_build_text()));
}

/// What each axis is worth, all else equal, and whether that depends on the others.
std::string factorial_html(const Study& study, const MetricResults& metric) {
    const auto found = factorial_of(study, metric);
    if (found.effects.empty()) return {};
    page::Table effects{
        .caption = fmt::format("The effect of each axis on {}, matched over all others, seed by seed. The "
                               "intervals hold together.",
                               escaped(metric.name)),
        .head = {"axis", "value", "against", "pairs of arms", "difference", "interval", "Holm p", "verdict"}};
    const auto numbers = [&](const Difference& d) {
        return std::vector<std::string>{difference_html(d), interval_html(d),
                                        d.p_holm ? fmt::format("{:.2g}", *d.p_holm) : "–"};
    };
    for (const auto& effect : found.effects) {
        page::Table::Row row{
            {escaped(effect.axis), escaped(effect.value), escaped(effect.against), fmt::format("{}", effect.matched)}};
        for (auto& cell : numbers(effect.difference)) row.cells.push_back(std::move(cell));
        row.cells.push_back(verdict_html(effect.difference, metric));
        effects.rows.push_back(std::move(row));
    }
    auto text = "<h2>What each axis is worth</h2>\n" + page::html(effects);
    if (found.interactions.empty()) return text;
    page::Table interactions{.caption =
                                 "Interactions: how much the effect of the first changes with the second. Where the "
                                 "interval leaves 0 out, the effects above are means over different answers.",
                             .head = {"first", "second", "foursomes of arms", "difference", "interval", "Holm p"}};
    for (const auto& one : found.interactions) {
        page::Table::Row row{{escaped(one.first), escaped(one.second), fmt::format("{}", one.matched)}};
        for (auto& cell : numbers(one.difference)) row.cells.push_back(std::move(cell));
        interactions.rows.push_back(std::move(row));
    }
    return text + page::html(interactions);
}

/// "init alone", or what all streams together are.
std::string stream_name(const Study& study, const std::string& stream) {
    if (!stream.empty()) return stream + " alone";
    return study.vary.empty() ? "another training" : listed(study.vary);
}

/// How much of the scatter over trainings each random stream makes, where a study varies them one at a time.
std::string streams_html(const Study& study, const MetricResults& metric) {
    if (!study.one_at_a_time) return {};
    page::Table table{
        .caption = fmt::format("The variance of {} over trainings in which one random stream alone followed the seed, "
                               "with {:g} % intervals; of an arm, and of its difference to {}. The share is that of "
                               "the variance where all of them did: shares that add up to less than 1 say that "
                               "streams act together. Worth of pairing: how many times as many seeds arms would take "
                               "that did not share this stream.",
                               escaped(metric.name), 100 * study.level, escaped(study.arms[study.baseline].name)),
        .head = {"arm", "of", "what varied", "variance", "interval", "share", "worth of pairing"}};
    const auto add = [&](std::size_t arm, std::optional<std::size_t> against) {
        const auto all = scatter_by_stream(study, metric, arm, against);
        for (const auto& one : all) {
            const bool together = all.front().stream.empty() && all.front().training.variance > 0;
            table.rows.push_back({{escaped(study.arms[arm].name), against ? "difference" : "value",
                                   escaped(stream_name(study, one.stream)), page::shown(one.training.variance, 3),
                                   fmt::format("{} … {}", page::shown(one.training.interval.first, 2),
                                               page::shown(one.training.interval.second, 2)),
                                   together && !one.stream.empty()
                                       ? fmt::format("{:.2f}", one.training.variance / all.front().training.variance)
                                       : "–",
                                   one.pairing ? fmt::format("{:.1f} ×", *one.pairing) : "–"}});
        }
    };
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        add(arm, std::nullopt);
        if (arm != study.baseline) add(arm, study.baseline);
    }
    return table.rows.empty() ? std::string() : page::html(table);
}

/// How a search came to the arm that is held against the baseline.
std::string search_html(const Study& study) {
    if (!study.search) return {};
    const auto& search = *study.search;
    page::Table table{.caption = fmt::format(
                          "The mean of {} after so many steps, with the seed{} {}; bold is what a rung kept. These "
                          "numbers chose the winner, and so flatter it: what is reported are other trainings, with "
                          "the seeds {}.",
                          escaped(study.metrics.front()), search.seeds.size() > 1 ? "s" : "",
                          fmt::join(search.seeds, ", "), fmt::join(search.fresh, ", ")),
                      .head = {"arm"}};
    for (const auto& rung : search.done) table.head.push_back(fmt::format("{} steps", rung.steps));
    for (const auto& arm : search.arms) {
        page::Table::Row row{{escaped(arm)}};
        for (const auto& rung : search.done) {
            const auto at = std::find(rung.arms.begin(), rung.arms.end(), arm) - rung.arms.begin();
            const bool kept = std::find(rung.kept.begin(), rung.kept.end(), arm) != rung.kept.end();
            const auto mean = at < std::ssize(rung.arms) ? shown(rung.means[static_cast<std::size_t>(at)]) : "";
            row.cells.push_back(kept ? "<strong>" + mean + "</strong>" : mean);
        }
        table.rows.push_back(std::move(row));
    }
    return "<h2>The search</h2>\n<p>" + escaped(search.text()) + "</p>\n" +
           (search.done.empty() ? std::string() : page::html(table));
}

/// Which value every training of an arm was reported with, where the study tunes one.
std::string tuning_html(const Study& study) {
    if (!study.tune) return {};
    const auto& [key, metric, values, seed] = *study.tune;
    page::Table table{
        .caption = fmt::format("The value of <code>{}</code> that each training chose, of {}: the best by "
                               "{} on samples drawn with the seed {}, which are reported nowhere.",
                               escaped(key), escaped(listed(values)), escaped(metric), seed),
        .head = {"arm"}};
    for (const auto one : study.seeds) table.head.push_back(fmt::format("seed {}", one));
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        page::Table::Row row{{escaped(study.arms[arm].name)}};
        for (const auto one : study.seeds) {
            const auto cell = std::find_if(study.cells.begin(), study.cells.end(), [&](const Cell& other) {
                return other.arm == arm && other.seed == one && other.stream.empty();
            });
            const bool known = cell != study.cells.end() && cell->chosen;
            row.cells.push_back(known ? escaped(values[*cell->chosen]) : std::string("–"));
        }
        table.rows.push_back(std::move(row));
    }
    return "<h2>Each arm at its own best</h2>\n" + page::html(table);
}

/// How much of the scatter is of the training and how much of what is drawn, where a study varies both.
std::string drawing_html(const Study& study, const MetricResults& metric) {
    page::Table table{
        .caption = fmt::format("The variance of {} over trainings and over draws from each, with {:g} % "
                               "intervals; of an arm, and of its difference to {}.",
                               escaped(metric.name), 100 * study.level, escaped(study.arms[study.baseline].name)),
        .head = {"arm", "of", "training", "interval", "drawing, alike for all", "interval", "drawing, for one training",
                 "interval"}};
    const auto add = [&](std::size_t arm, const char* of, const std::vector<double>& cells) {
        const auto found = components(cells, study.seeds.size(), study.level);
        if (!found) return;
        page::Table::Row row{{escaped(study.arms[arm].name), of}};
        for (const auto* part : {&found->training, &found->drawing, &found->rest}) {
            row.cells.push_back(page::shown(part->variance, 3));
            row.cells.push_back(
                fmt::format("{} … {}", page::shown(part->interval.first, 2), page::shown(part->interval.second, 2)));
        }
        table.rows.push_back(std::move(row));
    };
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        auto cells = compared_cells(metric.arms[arm]);
        add(arm, "value", cells);
        if (arm == study.baseline) continue;
        const auto base = compared_cells(metric.arms[study.baseline]);
        for (std::size_t i = 0; i < cells.size(); ++i) cells[i] -= base[i];
        add(arm, "difference", cells);
    }
    return table.rows.empty() ? std::string() : page::html(table);
}

std::string components_html(const Drawn& drawn, const MetricResults& metric) {
    const auto& study = drawn.study;
    const auto tables = streams_html(study, metric) + drawing_html(study, metric);
    if (tables.empty()) return {};
    const auto figure = scatter_figure(drawn, metric.name);
    return fmt::format("<h2>Variance by {}</h2>\n", study.one_at_a_time ? "random stream" : "training and drawing") +
           (figure.chart.rows.empty() ? std::string() : drawn.pictures.add(figure)) + tables;
}

/// What the seeds were worth, and which arms may be the best.
std::string seeds_html(const Drawn& drawn, const MetricResults& metric) {
    const auto& study = drawn.study;
    std::string text;
    if (metric.arms.size() > 2 && study.seeds.size() > 1) {
        std::vector<std::string> names;
        for (const auto arm : best_arms(metric, study.level)) names.push_back(study.arms[arm].name);
        if (!names.empty())
            text += fmt::format("<p>{} The best arm is among them {:g} times in 100.</p>\n",
                                names.size() == 1
                                    ? fmt::format("{} is better than every other arm.", escaped(names.front()))
                                    : fmt::format("Not told from the best: {}.", escaped(listed(names))),
                                100 * study.level);
    }
    page::Table table{.caption =
                          "What the seeds are worth: how many would find half of the difference that was seen (8 "
                          "times in 10), and how many times as many without pairing.",
                      .head = {"arm", "spread of the differences", "detectable", "seeds for half the difference",
                               "interval", "worth of pairing"}};
    const auto number = [](const std::optional<std::size_t>& n) {
        return n ? fmt::format("{}", *n) : std::string("> 100,000");
    };
    for (std::size_t arm = 0; arm < metric.arms.size(); ++arm) {
        const auto& d = metric.arms[arm].difference;
        if (arm == study.baseline || !d.simultaneous || d.estimate.mean == 0) continue;
        const auto needed = seeds_needed_by(d, std::abs(d.estimate.mean) / 2, metric.family.error(), study.level);
        table.rows.push_back(
            {{escaped(study.arms[arm].name), page::shown(d.estimate.sd, 3), page::shown(*d.detectable, 3),
              number(needed.likely), fmt::format("{} … {}", number(needed.least), number(needed.most)),
              fmt::format("{:.1f} ×", *d.pairing)}});
    }
    if (!table.rows.empty()) text += page::html(table) + drawn.pictures.add(power_figure(drawn, metric.name));
    return text.empty() ? text : "<h2>How sure, and what it would take</h2>\n" + text;
}

std::string method_html(const Study& study, const MetricResults& primary) {
    std::vector<std::string> seeds, draws;
    for (const auto seed : study.seeds) seeds.push_back(std::to_string(seed));
    for (const auto seed : study.sample_seeds) draws.push_back(std::to_string(seed));
    auto text = fmt::format(
        "<p>Every arm ran with the seed{} {}. Arms with the same seed share their initial network, the order of the "
        "data, the noise and the times, so differences are taken seed by seed. Intervals are Student's, at {:g} %. "
        "The simultaneous ones hold together for all {} comparisons that count (Bonferroni); an arm is called better "
        "or worse only where its simultaneous interval leaves 0 out. p values are adjusted for the same comparisons "
        "(Holm 1979). Ranks are means over the seeds that all arms have. \"Detectable\" is the least true difference "
        "that so many seeds would find 8 times in 10.</p>\n",
        seeds.size() > 1 ? "s" : "", listed(seeds), 100 * study.level, primary.family.comparisons);
    if (!study.vary.empty())
        text += fmt::format(
            "<p>Of what is drawn at random, {} followed the training's seed{}; all else, and the data set itself, kept "
            "the experiment's. {}</p>\n",
            listed(study.vary), study.one_at_a_time ? ", together and each alone" : "",
            draws.empty() ? "So did what samples are drawn with: the intervals speak of other trainings, drawn from "
                            "with this one seed."
                          : "");
    if (!draws.empty())
        text += fmt::format(
            "<p>Every training was drawn from with the sampling seeds {}; its value is the mean over them. So the "
            "intervals speak of other trainings, drawn from with these seeds.</p>\n",
            listed(draws));
    text +=
        "<p>Where a metric errs to both sides of what true samples give, what counts is how far it is from that. A "
        "cell that failed, or whose value is infinite or undefined, has the worst value there is: its arm has no mean "
        "and stands last, and is held against others by the exact signed-rank test. Where neither arm depends on the "
        "seed there is nothing to estimate.</p>\n";
    if (primary.smallest > 0)
        text += fmt::format(
            "<p>Differences below {:.3g} are said not to matter: arms whose difference is smaller by two one-sided "
            "tests are called equivalent.</p>\n",
            primary.smallest);
    const auto limits = what_seeds_show(study, primary);
    return text + (limits.empty() ? "" : "<p>" + escaped(limits) + "</p>\n");
}

std::string page_of(const Study& study, const StudyResults& results, const fs::path& folder, bool accept_rebuilt,
                    page::Pictures& pictures) {
    const auto& primary = study.metrics.front();
    const Drawn drawn{study, results, folder, accept_rebuilt, pictures};
    const auto title = study.question.empty() ? study.name : study.question;
    auto warnings = results.warnings;
    if (results.missing > 0)
        warnings.push_back(fmt::format("{} of {} cells have not run yet", results.missing, study.cells.size()));
    std::string listing;
    for (const auto& warning : warnings) listing += fmt::format("<li>{}.</li>\n", escaped(warning));
    const auto counted = [](std::size_t n, const char* what) {
        return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
    };
    auto content = fmt::format(
        "<h1>{}</h1>\n<p class=\"verdict\">{}</p>\n<p class=\"faint\">{} × {}, {} of {} cells done{}</p>\n",
        escaped(title), escaped(conclusion(study, results, primary)), counted(study.arms.size(), "arm"),
        counted(study.seeds.size(), "seed"), study.cells.size() - results.failures.size() - results.missing,
        study.cells.size(),
        warnings.empty() ? "." : fmt::format("; <a href=\"#warnings\">{}</a>.", counted(warnings.size(), "warning")));
    content += "<h2>Results</h2>\n";
    if (study.arms.size() > 1) content += drawn.pictures.add(comparisons_figure(drawn, primary));
    content += metric_table(study, results, primary) +
               page::details("Every comparison in a sentence", sentences_html(study, results, primary)) +
               other_metrics(study, results);
    content += failures_html(study, results, folder);
    content += fmt::format("<h2>{} by arm</h2>\n", escaped(primary)) + drawn.pictures.add(seeds_figure(drawn, primary));
    const auto& found = results.metrics.at(primary);
    content += search_html(study) + tuning_html(study) + factorial_html(study, found) + seeds_html(drawn, found) +
               components_html(drawn, found);
    content += cost_section(drawn, primary) + training_html(drawn) + schedules_html(drawn) + samples_html(drawn);
    return content + "<h2>Method and provenance</h2>\n" +
           page::details("Method", method_html(study, results.metrics.at(primary))) +
           page::details(counted(warnings.size(), "warning"),
                         warnings.empty() ? "<p>There are none.</p>" : "<ul>" + listing + "</ul>\n", "warnings") +
           page::details("Provenance", provenance_html(drawn)) +
           page::details("The study's file", "<pre tabindex=\"0\">" + escaped(study.text) + "</pre>\n");
}

}  // namespace

fs::path write_report(const Study& study, const StudyResults& results, const fs::path& folder, bool accept_rebuilt) {
    write_atomically(folder / "results.json", results_json(study, results).dump(2) + "\n");
    write_atomically(folder / "results.csv", results_csv(study, results));
    write_atomically(folder / "results.tex", results_tex(study, results));
    page::Pictures pictures;
    auto page = page::document(study.question.empty() ? study.name : study.question,
                               page_of(study, results, folder, accept_rebuilt, pictures));
    pictures.draw(page);
    write_atomically(folder / "report.html", page);
    return folder / "report.html";
}

}  // namespace dtk
