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

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;
using page::escaped;
using page::shown;

namespace {

std::string shown(const std::optional<std::pair<double, double>>& interval, std::size_t n) {
    if (n == 0) return "–";
    return interval ? fmt::format("{} … {}", page::shown(interval->first, 3), page::shown(interval->second, 3))
                    : std::string("n = 1, no interval");
}

std::string told_html(const Difference& difference) {
    switch (told(difference)) {
        case Told::better:
            return "<strong class=\"better\">better</strong>";
        case Told::worse:
            return "<strong class=\"worse\">worse</strong>";
        case Told::not_apart:
            return "not told apart";
        case Told::one_seed:
            return "one seed";
        case Told::no_pair:
            break;
    }
    return "–";
}

std::string metric_table(const Study& study, const Findings& findings, const std::string& metric) {
    const auto& scores = findings.scores.at(metric);
    const auto& first = scores[study.baseline];
    page::Table table{
        .caption = fmt::format(
            "{}: {}. Less is better{}.", escaped(metric),
            escaped(findings.notes.count(metric) ? findings.notes.at(metric) : "no result"),
            first.two_sided
                ? fmt::format("; what counts is the distance from {:.4g}, which true samples give", first.expected)
                : ""),
        .head = {"arm", "mean", fmt::format("{:g} % interval", 100 * study.level), "n", "difference",
                 "simultaneous interval", "Holm p", "verdict", "rank"}};
    for (std::size_t arm = 0; arm < scores.size(); ++arm) {
        const auto& s = scores[arm];
        const auto& d = s.difference;
        const auto rank = s.rank.n == 0
                              ? std::string("–")
                              : fmt::format("{:.1f}{}", s.rank.mean,
                                            s.rank.interval ? fmt::format(" ({:.1f} … {:.1f})", s.rank.interval->first,
                                                                          s.rank.interval->second)
                                                            : "");
        page::Table::Row row{{escaped(study.arms[arm].name), s.distance.n ? page::shown(s.distance.mean, 3) : "–",
                              shown(s.distance.interval, s.distance.n), fmt::format("{}", s.distance.n)}};
        if (arm == study.baseline)
            row.look = "baseline", row.cells.insert(row.cells.end(), {"baseline", "", "", ""});
        else
            row.cells.insert(
                row.cells.end(),
                {d.estimate.n ? fmt::format("{}{}{}", d.estimate.mean > 0 ? "+" : "", page::shown(d.estimate.mean, 3),
                                            d.skewed ? " (skewed)" : "")
                              : "–",
                 shown(d.simultaneous, d.estimate.n), d.p_holm ? fmt::format("{:.2g}", *d.p_holm) : "–", told_html(d)});
        row.cells.push_back(rank);
        table.rows.push_back(std::move(row));
    }
    if (std::isfinite(first.expected)) {
        page::Table::Row row{{"true samples", first.two_sided ? "0" : page::shown(first.expected, 3),
                              fmt::format("± {:.2g} (sd)", first.expected_sd)},
                             "truth"};
        row.cells.resize(table.head.size());
        table.rows.push_back(std::move(row));
    }
    return page::html(table);
}

/// The metrics after the first, each behind what it says.
std::string other_metrics(const Study& study, const Findings& findings) {
    std::string text;
    for (std::size_t i = 1; i < study.metrics.size(); ++i) {
        const auto& metric = study.metrics[i];
        std::string sentences;
        for (const auto& sentence : verdicts(study, findings, metric))
            sentences += fmt::format("<li>{}</li>\n", escaped(sentence));
        const auto whole = conclusion(study, findings, metric);
        text += page::details(escaped(whole.substr(0, whole.find(". ") + 1)),
                              metric_table(study, findings, metric) + "<ul>" + sentences + "</ul>\n");
    }
    return text.empty() ? text : "<h3>Other metrics</h3>\n" + text;
}

std::string cost_section(const Drawn& drawn, const std::string& metric) {
    const auto& costs = drawn.findings.costs;
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
                page::html(cost_figure(drawn, metric, evaluations, "network evaluations for each sample"));
    else if (first != evaluations.end())
        text += fmt::format("<p>Every arm asks the network {:.4g} times for each sample.</p>\n", *first);
    text += "<h3>Seconds</h3>\n" +
            page::html(cost_figure(drawn, metric, seconds,
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
    for (const auto& warning : drawn.findings.warnings)
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
        if (cell.seed != study.seeds.front()) continue;
        const auto folder = folder_of(study.task(cell.task), drawn.folder, drawn.accept_rebuilt);
        const auto png = fs::exists(folder / "samples.png");
        if ((!png && !fs::exists(folder / "samples.svg")) || ++count > most) continue;
        const auto url = png ? page::data_url("image/png", read_file(folder / "samples.png"))
                             : page::data_url("image/svg+xml", read_file(folder / "samples.svg"));
        const auto panels = png && in_panels(folder);
        if (panels && count == 1) add(url, "half", "The data", "data");
        add(url, panels ? "half right" : "",
            fmt::format("Samples of {}, seed {}", study.arms[cell.arm].name, cell.seed), study.arms[cell.arm].name);
    }
    if (pictures.empty()) return {};
    return fmt::format(
        "<h2>Samples</h2>\n<p>Seed {}. Every arm began with the same noise.{}</p>\n<div class=\"row\">\n{}</div>\n",
        study.seeds.front(), count > most ? fmt::format(" The first {} of {} arms.", most, count) : "", pictures);
}

std::string failures_html(const Study& study, const Findings& findings, const fs::path& folder) {
    if (findings.failures.empty()) return {};
    page::Table table{.caption = fmt::format("{} of {} cells failed. The rest is complete without them.",
                                             findings.failures.size(), study.cells.size()),
                      .head = {"arm", "seed", "reason", "to see it again"}};
    for (const auto& [number, reason] : findings.failures) {
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
        table.rows.push_back({{escaped(name), fmt::format("<code>{}</code>", escaped(fmt::format("{}", fmt::join(hashes, " "))))}, "words"});
    const auto list = [](const std::set<std::string>& items) {
        std::string text;
        for (const auto& item : items) text += fmt::format("<li>{}</li>", escaped(item));
        return text;
    };
    return fmt::format("<ul>{}{}{}</ul>\n{}<p>This page was written by dtk {}, {}.</p>\n", list(builds), list(hosts),
                       last.empty() ? "" : fmt::format("<li>Ran from {} to {}</li>", escaped(first), escaped(last)),
                       plugins.empty() ? "" : page::html(table), version(), escaped(torch_build_text()));
}

std::string method_html(const Study& study) {
    std::vector<std::string> seeds;
    for (const auto seed : study.seeds) seeds.push_back(std::to_string(seed));
    return fmt::format(
        "<p>Every arm ran with the seed{} {}. Arms with the same seed share their initial network, the order of the "
        "data, the noise and the times, so differences to {} are taken seed by seed. Intervals are Student's, at {:g} "
        "%. "
        "The simultaneous ones hold together for all comparisons with the baseline (Bonferroni); an arm is called "
        "better or worse only where its simultaneous interval leaves 0 out. p values are adjusted for the number of "
        "comparisons (Holm 1979). Ranks are means over the seeds that all arms have.</p>\n<p>A metric counts by its "
        "distance: its value, or, where it can err to both sides and what true samples give is known, how far it is "
        "from that.</p>\n",
        seeds.size() > 1 ? "s" : "", listed(seeds), escaped(study.arms[study.baseline].name), 100 * study.level);
}

std::string page_of(const Study& study, const Findings& findings, const fs::path& folder, bool accept_rebuilt) {
    const auto& primary = study.metrics.front();
    const Drawn drawn{study, findings, folder, accept_rebuilt};
    const auto title = study.question.empty() ? study.name : study.question;
    auto warnings = findings.warnings;
    if (findings.missing > 0)
        warnings.push_back(fmt::format("{} of {} cells have not run yet", findings.missing, study.cells.size()));
    std::string listing;
    for (const auto& warning : warnings) listing += fmt::format("<li>{}.</li>\n", escaped(warning));
    std::string sentences;
    for (const auto& sentence : verdicts(study, findings, primary))
        sentences += fmt::format("<li>{}</li>\n", escaped(sentence));
    const auto counted = [](std::size_t n, const char* what) {
        return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
    };
    auto content = fmt::format(
        "<h1>{}</h1>\n<p class=\"verdict\">{}</p>\n<p class=\"faint\">{} × {}, {} of {} cells done{}</p>\n",
        escaped(title), escaped(conclusion(study, findings, primary)), counted(study.arms.size(), "arm"),
        counted(study.seeds.size(), "seed"), study.cells.size() - findings.failures.size() - findings.missing,
        study.cells.size(),
        warnings.empty() ? "." : fmt::format("; <a href=\"#warnings\">{}</a>.", counted(warnings.size(), "warning")));
    content += "<h2>Results</h2>\n" + metric_table(study, findings, primary) +
               page::details("Every comparison in a sentence", "<ul>" + sentences + "</ul>\n") +
               other_metrics(study, findings);
    content += failures_html(study, findings, folder);
    content += fmt::format("<h2>{} by arm</h2>\n", escaped(primary)) + page::html(seeds_figure(drawn, primary));
    content += cost_section(drawn, primary) + training_html(drawn) + schedules_html(drawn) + samples_html(drawn);
    return content + "<h2>Method and provenance</h2>\n" + page::details("Method", method_html(study)) +
           page::details(counted(warnings.size(), "warning"),
                         warnings.empty() ? "<p>There are none.</p>" : "<ul>" + listing + "</ul>\n", "warnings") +
           page::details("Provenance", provenance_html(drawn)) +
           page::details("The study's file", "<pre tabindex=\"0\">" + escaped(study.text) + "</pre>\n");
}

}  // namespace

fs::path write_report(const Study& study, const Findings& findings, const fs::path& folder, bool accept_rebuilt) {
    write_atomically(folder / "results.json", results_json(study, findings).dump(2) + "\n");
    write_atomically(folder / "results.csv", results_csv(study, findings));
    write_atomically(folder / "results.tex", results_tex(study, findings));
    write_atomically(folder / "report.html", page::document(study.question.empty() ? study.name : study.question,
                                                            page_of(study, findings, folder, accept_rebuilt)));
    return folder / "report.html";
}

}  // namespace dtk
