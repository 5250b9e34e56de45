// dtk ls and dtk show
#include "cli/runs.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <ctime>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/build.hpp"
#include "base/classes.hpp"
#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/validated.hpp"
#include "cli/commands.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;
using What = Record::What;

namespace {

/// A time of the record as a clock here shows it.
std::string here(const std::string& utc) {
    std::tm parts{};
    if (!::strptime(utc.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts)) return "?";
    const auto time = ::timegm(&parts);
    ::localtime_r(&time, &parts);
    return fmt::format("{:%Y-%m-%d %H:%M}", parts);
}

const char* name_of(What what) {
    switch (what) {
        case What::run:
            return "run";
        case What::sample:
            return "samples";
        case What::study:
            return "study";
        case What::damaged:
            return "damaged";
        case What::foreign:
            break;
    }
    return "foreign";
}

std::string status_of(const Record& r) {
    if (r.what == What::damaged || r.what == What::foreign) return name_of(r.what);
    if (r.what == What::study) {
        const auto failed = r.count("failed"), running = r.count("running");
        return fmt::format("{} {}/{}{}{}", r.status, r.count("done"), r.cells.size(),
                           failed ? fmt::format(", {} failed", failed) : "",
                           running ? fmt::format(", {} at work", running) : "");
    }
    return r.status + (r.steps && r.status != "completed" ? fmt::format(" {}/{}", *r.step, *r.steps) : "");
}

/// The first few values, each with a word where it is not as true samples'.
std::string numbers_of(const Record& r) {
    if (!r.problem.empty()) return r.problem;
    if (r.what == What::study) return field_of(r, "/question");
    std::string text;
    constexpr std::size_t most = 3;
    for (std::size_t i = 0; i < std::min(most, r.measured.size()); ++i) {
        const auto& m = r.measured[i];
        text += fmt::format("{}{} {}{}", i ? ", " : "", m.metric,
                            std::isfinite(m.value) ? fmt::format("{:.4g}", m.value) : "not finite",
                            m.passes && !*m.passes ? " (off)" : "");
    }
    return text + (r.measured.size() > most ? ", …" : "");
}

json summary(const Record& r) {
    json one{{"what", name_of(r.what)},
             {"name", r.name},
             {"folder", r.folder.string()},
             {"status", r.status},
             {"start_time", r.started}};
    if (r.seed) one["seed"] = *r.seed;
    if (r.steps) one["step"] = *r.step, one["steps"] = *r.steps;
    if (!r.problem.empty()) one["problem"] = r.problem;
    if (r.what == What::study)
        one["cells"] = {{"all", r.cells.size()},
                        {"done", r.count("done")},
                        {"failed", r.count("failed")},
                        {"running", r.count("running")}};
    one["metrics"] = json::array();
    for (const auto& m : r.measured) one["metrics"].push_back(to_json(m));
    return one;
}

/// "10.3 s", "4 min", "2.5 h"
std::string duration(double seconds) {
    return seconds < 120    ? fmt::format("{:.1f} s", seconds)
           : seconds < 7200 ? fmt::format("{:.0f} min", seconds / 60)
                            : fmt::format("{:.1f} h", seconds / 3600);
}

std::string timings(const Record& r) {
    std::string text;
    const auto seconds = r.content.value("seconds", json());
    if (seconds.is_object())
        for (const auto& [what, value] : seconds.items())
            if (value.is_number())
                text += fmt::format("{}{} {}", text.empty() ? "" : ", ", what, duration(value.get<double>()));
    return text;
}

struct OpenFile {
    fs::path path;
    const char* what;
};

/// Files of the folder that a person opens.
std::vector<OpenFile> files_of(const Record& r) {
    constexpr std::pair<const char*, const char*> known[] = {
        {"report.html", "the report"},
        {"results.json", "all numbers"},
        {"results.csv", "a line for each value"},
        {"results.tex", "the table for LaTeX"},
        {"results.npz", "for NumPy"},
        {"tensorboard", "for TensorBoard"},
        {"samples.png", "the samples, drawn"},
        {"samples.svg", "the samples, drawn"},
        {"samples.pdb", "the samples, for viewers of molecules"},
        {"loss.svg", "the loss over the steps, and by noise level"},
        {"samples.safetensors", "the samples"},
        {"metrics.jsonl", "the log of the training"},
        {"checkpoints", "the network"},
        {"resolved.toml", "the experiment with every field"},
        {"experiment.toml", "the experiment as given"},
        {"study.toml", "the study as given"}};
    std::vector<OpenFile> all;
    const auto stages = r.is_run() ? stages_of(r) : std::vector<std::pair<std::string, fs::path>>{{"", r.folder}};
    for (const auto& [name, what] : known) {
        std::vector<fs::path> folders;
        for (const auto& [stage, folder] : stages) folders.push_back(folder);
        if (folders.front() != r.folder) folders.insert(folders.begin(), r.folder);
        for (const auto& folder : folders)
            if (std::error_code ignored; fs::exists(folder / name, ignored) && !fs::is_empty(folder / name, ignored))
                all.push_back({folder / name, what});
    }
    return all;
}

/// What the experiment was made of, in a few words for each stage.
std::vector<std::string> experiment_of(const Record& r) {
    std::map<std::string, std::string> settings;
    try {
        settings = settings_of(r);
    } catch (const Error& error) {
        return {error.what()};
    }
    std::vector<std::string> lines;
    for (const auto& [stage, folder] : stages_of(r)) {
        const auto value = [&, &stage = stage](const std::string& key) {
            for (const auto& prefix : {stage.empty() ? std::string() : stage + ".", std::string()})
                if (const auto at = settings.find(prefix + key); at != settings.end()) return at->second;
            return std::string();
        };
        std::string line = stage.empty() ? "" : stage + ": ";
        const auto add = [&](const std::string& text) {
            line += (line.empty() || line.ends_with(": ") ? "" : ", ") + text;
        };
        for (const auto* kind : {"dataset", "process", "schedule", "model", "loss"})
            if (const auto use = value(std::string(kind) + ".use"); !use.empty())
                add(fmt::format("{} {}{}", kind, use,
                                std::string(kind) == "process" && !value("process.steps").empty()
                                    ? " of " + value("process.steps") + " steps"
                                    : ""));
        if (!value("train.steps").empty())
            add(fmt::format("{} steps of {} examples", value("train.steps"), value("train.batch")));
        if (!value("sample.n").empty())
            add(fmt::format("{} samples by {}{}", value("sample.n"), value("sampler.use"),
                            value("sampler.steps").empty() || value("sampler.steps") == "0"
                                ? ""
                                : " in " + value("sampler.steps") + " steps"));
        lines.push_back(line);
    }
    return lines;
}

/// What the data were divided into, of each stage that differs.
std::vector<std::string> classes_of(const Record& r) {
    std::vector<std::string> lines;
    const auto all = r.content.value("classes", json());
    if (!all.is_object()) return lines;
    for (const auto& [stage, list] : all.items())
        if (const auto classes = Classes::from_json(list); classes.count > 0)
            if (const auto text = classes.text(); std::ranges::find(lines, text) == lines.end()) lines.push_back(text);
    return lines;
}

void print_lines(const char* heading, const std::vector<std::string>& lines) {
    for (std::size_t i = 0; i < lines.size(); ++i) show("{:<12}{}\n", i == 0 ? heading : "", lines[i]);
}

/// What held-out examples said of the training, and how the best of it is had.
std::vector<std::string> held_out_of(const Record& r) {
    std::vector<std::string> lines;
    for (const auto& [stage, folder] : stages_of(r)) {
        const auto found = validations_in(folder);
        if (!found.last) continue;
        lines.push_back((stage.empty() ? "" : stage + ": ") + found.in_words());
        if (found.best && found.best->step != found.last->step)
            lines.push_back(fmt::format("  dtk sample {} --step best", typed(folder)));
    }
    return lines;
}

void print_measured(const Record& r) {
    if (r.measured.empty()) return;
    std::vector<std::vector<std::string>> rows{{"metric", "value", "true samples ± sd", "verdict", ""}};
    for (const auto& m : r.measured)
        rows.push_back(
            {m.metric,
             std::isfinite(m.value)
                 ? fmt::format("{:.6g}{}", m.value,
                               std::isfinite(m.standard_error) ? fmt::format(" ± {:.2g}", m.standard_error) : "")
                 : "not finite",
             std::isfinite(m.expected) ? fmt::format("{:.6g} ± {:.2g}", m.expected, m.expected_sd) : "",
             !m.passes   ? ""
             : *m.passes ? "as true samples"
                         : "off",
             m.note});
    fmt::print("\n");
    print_table(rows);
}

void show_study(const Record& r) {
    show("study       {}\nfolder      {}\nstatus      {}\n", r.name, r.folder.string(), status_of(r));
    if (!r.problem.empty()) show("            {}\n", r.problem);
    if (const auto question = field_of(r, "/question"); !question.empty()) show("question    {}\n", question);
    std::vector<std::vector<std::string>> rows{{"arm", "seed", "status", "measured", "folder"}};
    for (const auto& cell : r.cells)
        rows.push_back({cell.arm, cell.seed_text(), cell.status,
                        cell.status == "done" ? numbers_of(read_record(cell.measured)) : cell.error,
                        cell.status == "to do" ? "" : typed(cell.measured)});
    if (rows.size() > 1) fmt::print("\n"), print_table(rows);
    const auto files = files_of(r);
    fmt::print("\n");
    for (const auto& file : files)
        show("{:<12}{}  ({})\n", file.path == files.front().path ? "open" : "", typed(file.path), file.what);
    if (const auto file = r.content.value("file", json()); file.is_string()) {
        fmt::print("{:<12}dtk run {} --out {}", r.status == "complete" ? "again" : "go on",
                   typed(file.get<std::string>()), typed(r.folder));
        const auto set = r.content.value("set", json::array()), folders = r.content.value("plugin_path", json::array());
        for (const auto& one : set)
            if (one.is_string()) fmt::print(" --set {}", shell_word(one.get<std::string>()));
        for (const auto& one : folders)
            if (one.is_string()) fmt::print(" --plugin-path {}", shell_word(one.get<std::string>()));
        if (const auto device = field_of(r, "/device"); !device.empty()) fmt::print(" --device {}", shell_word(device));
        fmt::print("\n");
    }
    fmt::print("{:<12}dtk report {}\n", "the report", typed(r.folder));
}

std::vector<std::string> provenance(const Record& r) {
    std::vector<std::string> lines{
        fmt::format("dtk {}, {}", field_of(r, "/dtk/version"), field_of(r, "/dtk/build")),
        fmt::format("{}, {}, {}", field_of(r, "/host/name"), field_of(r, "/host/cpu"), field_of(r, "/host/os")),
        fmt::format("device {}, threads {}, seed {}", field_of(r, "/device"), r.content.value("threads", json()).dump(),
                    r.seed.value_or(0))};
    if (const auto data = r.content.value("data", json()); data.is_object())
        for (const auto& [stage, hash] : data.items())
            if (hash.is_string())
                lines.push_back(
                    fmt::format("data {}{}", stage == "sha256" ? "" : stage + ": ", hash.get<std::string>()));
    for (const auto& [name, plugin] : plugins_of(r))
        lines.push_back(fmt::format("{} {}", plugin.value("sha256", "").substr(0, 12), name));
    return lines;
}

/// When it was gone on with, from where, and what was changed.
std::vector<std::string> history_of(const Record& r) {
    std::vector<std::string> lines;
    for (const auto& entry : r.content.value("history", json::array())) {
        std::vector<std::string> from;
        const auto steps = entry.value("from", json::object());
        for (const auto& [stage, at] : steps.items())
            from.push_back(fmt::format("{}step {}", stage == "run" ? "" : stage + " ", at.value("step", 0)));
        lines.push_back(fmt::format("{} after {}", here(entry.value("time", "")),
                                    from.empty() ? std::string("nothing that was saved") : listed(from)));
        for (const auto& change : entry.value("changes", json::array()))
            lines.push_back("  " + change.value("text", std::string()));
    }
    return lines;
}

json show_json(const Record& r) {
    auto one = summary(r);
    one["record"] = r.content;
    if (r.what == What::run || r.what == What::sample) {
        one["experiment"] = experiment_of(r);
        one["reproduce"] = shell_command({"dtk", "reproduce", r.folder.string()});
    }
    if (r.is_run()) one["changed_since"] = changes_since(r);
    for (const auto& file : files_of(r)) one["files"].push_back(file.path.string());
    for (const auto& cell : r.cells)
        one["all_cells"].push_back({{"arm", cell.arm},
                                    {"seed", cell.seed},
                                    {"status", cell.status},
                                    {"trained", cell.trained.string()},
                                    {"measured", cell.measured.string()},
                                    {"error", cell.error}});
    return one;
}

}  // namespace

void print_table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    const auto wide = [](const std::string& text) { return 2 * text.size() - padded(text, text.size()).size(); };
    auto harmless_rows = rows;
    for (auto& row : harmless_rows)
        for (auto& cell : row) cell = harmless(cell, true);
    for (const auto& row : harmless_rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], wide(row[i]));
    }
    for (const auto& row : harmless_rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) line += padded(row[i], widths[i]) + "  ";
        fmt::print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
    }
}

std::string typed(const fs::path& path) {
    std::error_code error;
    const auto relative = fs::relative(path, fs::current_path(), error).string();
    const bool as_it_is =
        error || relative.empty() || relative.starts_with("../..") || path.string().size() < relative.size();
    return shell_word(as_it_is ? path.string() : relative);
}

std::map<std::string, json> plugins_of(const Record& run) {
    std::map<std::string, json> all;
    const auto list = run.content.value("plugins", json());
    if (list.is_array())
        for (const auto& one : list)
            if (one.is_object() && one.value("kind", json()).is_string() && one.value("name", json()).is_string() &&
                one.value("sha256", json()).is_string() && one.value("path", json()).is_string())
                all.emplace(fmt::format("{} {}", one["kind"].get<std::string>(), one["name"].get<std::string>()), one);
    return all;
}

std::string field_of(const Record& run, const char* path) {
    const json::json_pointer at(path);
    return run.content.contains(at) && run.content[at].is_string() ? run.content[at].get<std::string>() : std::string();
}

json to_json(const Measured& m) {
    json one{{"metric", m.metric},
             {"value", json_number(m.value)},
             {"better", m.better ? json(std::string(dtk::name_of(*m.better))) : json(nullptr)},
             {"unit", m.unit},
             {"expected", json_number(m.expected)},
             {"expected_sd", json_number(m.expected_sd)},
             {"note", m.note}};
    if (std::isfinite(m.standard_error)) one["standard_error"] = m.standard_error;
    if (m.passes) one["passes"] = *m.passes;
    return one;
}

std::vector<std::string> changes_since(const Record& run) {
    std::vector<std::string> all;
    const auto differs = [&](const char* what, const std::string& then, const std::string& now) {
        if (!then.empty() && then != now) all.push_back(fmt::format("{}: then {}, now {}", what, then, now));
    };
    differs("dtk", field_of(run, "/dtk/version"), std::string(version()));
    differs("its build", field_of(run, "/dtk/build"), std::string(torch_build_text()));
    if (const auto then = field_of(run, "/dtk/sha256"); !then.empty() && then != sha256_of_dtk())
        all.push_back("dtk itself is another build");
    const auto resolved = run.folder / "resolved.toml";
    if (const auto then = field_of(run, "/config_hash");
        !then.empty() && fs::is_regular_file(resolved) && sha256_of_file(resolved) != then)
        all.push_back("the experiment: resolved.toml is not as the run wrote it");
    for (const auto& [name, plugin] : plugins_of(run)) {
        const fs::path file = plugin["path"].get<std::string>();
        if (std::error_code ignored; !fs::exists(file, ignored))
            all.push_back(fmt::format("plugin {}: {} is not there", name, file.string()));
        else
            try {
                if (sha256_of_file(file) != plugin["sha256"].get<std::string>())
                    all.push_back(fmt::format("plugin {}: {} is another build", name, file.string()));
            } catch (const Error& error) {
                all.push_back(fmt::format("plugin {}: {}", name, error.what()));
            }
    }
    utsname system{};
    ::uname(&system);
    differs("machine", field_of(run, "/host/name"), system.nodename);
    const auto cores = run.content.contains("host") && run.content["host"].is_object()
                           ? run.content["host"].value("cores", json())
                           : json();
    if (cores.is_number()) differs("cores", cores.dump(), std::to_string(std::thread::hardware_concurrency()));
    return all;
}

int list_runs(const fs::path& folder, bool as_json) {
    if (!fs::is_directory(folder)) {
        if (folder != "runs")
            throw UserError(fmt::format("{} is not a folder", folder.string()),
                            "dtk ls lists the runs in a folder, usually runs/");
        if (as_json)
            fmt::print("[]\n");
        else
            fmt::print(stderr,
                       "there are no runs here yet (no folder runs/)\n  = help: start one: dtk run "
                       "experiments/quickstart.toml\n");
        return done;
    }
    const auto all = records_in(folder);
    if (as_json) {
        json list = json::array();
        for (const auto& r : all) list.push_back(summary(r));
        fmt::print("{}\n", list.dump(2, ' ', false, json::error_handler_t::replace));
        return done;
    }
    std::vector<std::vector<std::string>> rows{{"when", "what", "status", "seed", "folder", "measured"}};
    for (const auto& r : all)
        rows.push_back({r.started.empty() ? "" : here(r.started),
                        r.what == What::damaged || r.what == What::foreign ? "?" : name_of(r.what), status_of(r),
                        r.seed ? std::to_string(*r.seed) : "", typed(r.folder), numbers_of(r)});
    if (all.empty())
        fmt::print(stderr, "there is no run in {}\n", folder.string());
    else
        print_table(rows);
    return done;
}

int show_run(const std::string& run, bool as_json) {
    const auto r = find_record(run);
    if (as_json) {
        fmt::print("{}\n", show_json(r).dump(2, ' ', false, json::error_handler_t::replace));
        return done;
    }
    if (r.what == What::damaged)
        throw UserError(
            fmt::format("{} cannot be shown: {}", r.folder.string(), r.problem),
            "the samples and checkpoints in it may still be good; `dtk sample` needs stage.toml and checkpoints alone");
    if (r.what == What::study) {
        show_study(r);
        return done;
    }
    show("{:<12}{}\nfolder      {}\n", name_of(r.what), r.name, r.folder.string());
    show("status      {}, {}\n", status_of(r), here(r.started));
    if (!r.problem.empty()) show("            {}\n", r.problem);
    if (const auto text = timings(r); !text.empty()) fmt::print("took        {}\n", text);
    print_lines("experiment", experiment_of(r));
    print_lines("classes", classes_of(r));
    if (const auto history = history_of(r); !history.empty()) print_lines("gone on", history);
    if (r.is_run()) print_lines("held out", held_out_of(r));
    print_measured(r);
    fmt::print("\n");
    if (r.is_run()) {
        print_lines("made by", provenance(r));
        const auto changes = changes_since(r);
        print_lines(
            "since then",
            changes.empty()
                ? std::vector<std::string>{"nothing has changed: dtk, its plugins and the machine are as they were"}
                : changes);
        fmt::print("\n");
    }
    const auto files = files_of(r);
    for (const auto& file : files)
        show("{:<12}{}  ({})\n", file.path == files.front().path ? "open" : "", typed(file.path), file.what);
    if (r.status == "completed")
        fmt::print("again       dtk reproduce {}\n", typed(r.folder));
    else if (r.status != "running")
        fmt::print("go on       dtk run {} --resume={}\n", typed(r.folder / "resolved.toml"), typed(r.folder));
    return done;
}

}  // namespace dtk::cli
