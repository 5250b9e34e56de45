// dtk run, check and report, of studies and of single experiments.
#include <csignal>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/launch.hpp"
#include "base/stop.hpp"
#include "base/threads.hpp"
#include "base/words.hpp"
#include "cli/commands.hpp"
#include "cli/runs.hpp"
#include "study/components.hpp"
#include "study/exports.hpp"
#include "study/kept.hpp"
#include "study/memory.hpp"
#include "study/report.hpp"
#include "study/tables.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

Study read(const fs::path& file, const Overrides& overrides, std::int64_t threads, Diagnostics& mistakes,
           const Growth& growth = {}) {
    return read_study(
        file, overrides, threads,
        [](const auto& path, const auto& laid, Diagnostics& found) { return engine().examine(path, laid, found); },
        mistakes, growth);
}

/// "i/n", both counted from 1.
std::optional<std::pair<std::int64_t, std::int64_t>> part_of(const std::string& text) {
    if (text.empty()) return std::nullopt;
    std::pair<std::int64_t, std::int64_t> part;
    char rest = 0;
    if (std::sscanf(text.c_str(), "%ld/%ld%c", &part.first, &part.second, &rest) != 2 || part.first < 1 ||
        part.first > part.second)
        throw Error(fmt::format("`--cell {}` is no share", text), "write --cell 1/8 to --cell 8/8");
    return part;
}

/// What the cells of a study run on, as far as the file says.
struct Hardware {
    std::int64_t threads, jobs;
    std::vector<std::string> gpus;
    bool on_cpu = false;  ///< alone
};

/// One thread for a cell unless the file says otherwise, for two cells of one thread each are faster than one of two,
/// and as many cells as fill the cores; on `cuda` one for each GPU.
Hardware hardware_for(const RunRequest& request) {
    Diagnostics ignored;
    const auto root = read_toml(request.file, request.overrides.set, ignored);
    const auto threads = root["threads"].value_or(std::int64_t{1});
    const auto device = request.overrides.device.value_or(root["device"].value_or(std::string("cpu")));
    if (device == "cuda") {
        const auto gpus = visible_gpus();
        return {threads, std::max<std::int64_t>(1, std::ssize(gpus)), gpus};
    }
    const auto cores = cores_to_use().count;
    return {
        threads, device != "cpu" || threads == 0 ? 1 : std::max<std::int64_t>(1, cores / threads), {}, device == "cpu"};
}

std::size_t cells_done(const Study& study, const fs::path& folder, bool accept_rebuilt) {
    return static_cast<std::size_t>(std::count_if(study.cells.begin(), study.cells.end(), [&](const Cell& cell) {
        return result_of(study.task(cell.task), folder, accept_rebuilt).has_value();
    }));
}

/// What arms drop of the file.
void say_notes(const Study& study) {
    for (const auto& note : study.notes) Progress::note("note: " + harmless(note));
}

/// Writes the report, then prints the table and the verdicts: who reads only the beginning loses no result.
int conclude(const Study& study, const StudyResults& results, const fs::path& folder, bool accept_rebuilt) {
    const auto report = write_report(study, results, folder, accept_rebuilt);
    std::signal(SIGPIPE, SIG_DFL);
    fmt::print("{}\n", table_text(study, results));
    const auto& primary = study.metrics.front();
    for (const auto& sentence : verdicts(study, results, primary)) fmt::print("{}\n", sentence);
    if (const auto limits = what_seeds_show(study, results.metrics.at(primary)); !limits.empty())
        fmt::print("{}\n", limits);
    for (const auto& warning : results.warnings) fmt::print("warning: {}\n", warning);
    for (const auto& [number, reason] : results.failures)
        fmt::print(stderr, "failed: {}, seed {}: {}\n  = help: {}\n", study.arms[study.cells[number].arm].name,
                   study.cells[number].seed, reason, command_of(study, study.task(study.cells[number].task), folder));
    fmt::print("\nreport   {}\n", report.string());
    return results.failures.empty() ? done : failed;
}

/// With `until = "decided"`: how many seeds the next look takes; nothing where every comparison is decided, or none can
/// be taken any more.
std::optional<std::size_t> next_look(const Study& study, const StudyResults& results) {
    if (!study.until_decided || results.missing > 0) return std::nullopt;
    const auto& metric = results.metrics.at(study.metrics.front());
    const auto open = [&](const Difference& d) {
        const auto verdict = verdict_of(d, metric);
        return verdict == Verdict::inconclusive || verdict == Verdict::one_seed;
    };
    bool any =
        std::any_of(metric.pairs.begin(), metric.pairs.end(), [&](const auto& pair) { return open(pair.difference); });
    for (std::size_t arm = 0; metric.pairs.empty() && arm < metric.arms.size(); ++arm)
        any = any || (arm != study.baseline && open(metric.arms[arm].difference));
    if (!any) return std::nullopt;
    for (const auto n : looks(study.first_seeds, static_cast<std::size_t>(study.limit)))
        if (n > study.seeds.size()) return n;
    return std::nullopt;
}

int run_as_study(const RunRequest& request, const StudyOptions& options) {
    if (request.resume)
        throw Error("a study needs no --resume: the same command goes on where it was", "leave --resume out");
    if (!request.overrides.artefacts.empty())
        throw Error("a study trains what its cells stand on itself",
                    "write `first` in [ablation], or name the run's folder in the field");
    if (request.overrides.seed)
        throw Error("a study has its seeds in its file",
                    "write `seeds` in [ablation], or --set ablation.seeds=[1,2,3]");
    const auto hardware = hardware_for(request);
    const auto jobs = options.jobs > 0 ? options.jobs : hardware.jobs;
    json asked{{"set", request.overrides.set},
               {"threads", hardware.threads},
               {"device", nullptr},
               {"accept_rebuilt", options.accept_rebuilt}};
    if (request.overrides.device) asked["device"] = *request.overrides.device;
    for (const auto& path : request.overrides.plugin_path) asked["plugin_path"].push_back(fs::absolute(path).string());

    const auto part = part_of(options.part);
    Growth growth;
    while (true) {
        Diagnostics mistakes;
        auto study = read(request.file, request.overrides, hardware.threads, mistakes, growth);
        if (!mistakes.empty()) return complain(mistakes);
        if (study.search && part)
            throw Error("a search cannot be shared by --cell: what runs next depends on all that ran before",
                        "start the command on each host without it: whoever is free takes the next cell");
        if (growth.seeds == 0 && growth.rungs.empty()) say_notes(study);
        const auto folder = fs::absolute(request.out.value_or(fs::path("runs") / study.name / "study"));
        choose_tuned(study, folder, options.accept_rebuilt);
        if (request.dry_run) {
            fmt::print("{}", plan_text(study, folder, jobs, options.accept_rebuilt));
            return done;
        }
        try {
            fs::create_directories(folder);
            write_atomically(folder / "study.toml", study.text);
            keep_study(study, folder, asked, cells_done(study, folder, options.accept_rebuilt));
            fmt::print(stderr, "study    {}\n         {} arms × {} seeds, {} tasks, {} at a time\n", folder.string(),
                       study.arms.size(), study.seeds.size(), needed_tasks(study).size(), jobs);
            watch_signals();
            run_study(study, {folder, jobs, part, hardware.gpus, options.accept_rebuilt, request.progress, stop_asked,
                              hardware.on_cpu ? &engine() : nullptr});
            if (study.tune) {
                choose_tuned(study, folder, options.accept_rebuilt);
                keep_study(study, folder, asked, cells_done(study, folder, options.accept_rebuilt));
            }
            const auto results = results_of(study, folder, options.accept_rebuilt);
            if (study.search && !study.search->is_confirming()) {
                growth.rungs.push_back(rung_of(study, results));
                const auto& rung = growth.rungs.back();
                fmt::print(stderr, "rung {} of {}, {} steps, is done{}; kept: {}\n", growth.rungs.size(),
                           study.search->rungs, rung.steps,
                           results.failures.empty() ? "" : fmt::format(" (failed: {})", results.failures.size()),
                           listed(rung.kept));
                continue;
            }
            if (const auto more = next_look(study, results)) {
                fmt::print(stderr, "{} seeds do not decide; the next look is after {}\n", study.seeds.size(), *more);
                growth.seeds = *more;
                continue;
            }
            write_exports(folder);
            return conclude(study, results, folder, options.accept_rebuilt);
        } catch (const Interrupted& error) {
            fmt::print(stderr, "dtk: {}\n  = help: the same command goes on\n", error.what());
            return stop_code();
        } catch (const UserError&) {
            throw;
        } catch (const PluginError&) {
            throw;
        } catch (const Error& error) {
            // Once it has begun, what goes wrong, such as a full disk, is nobody's mistake.
            fmt::print(stderr, "error: {}\n", error.what());
            if (!error.help().empty()) fmt::print(stderr, "  = help: {}\n", error.help());
            return failed;
        }
    }
}

}  // namespace

int run(RunRequest& request, bool resume, const StudyOptions& study) {
    std::signal(SIGPIPE, SIG_IGN);  // who stops reading does not end the work
    if (is_study(request.file, request.overrides)) {
        if (request.replay)
            throw Error(fmt::format("{} is a study, and --replay looks at one run", request.file.string()),
                        "name a cell: dtk run CELL/resolved.toml --out CELL --replay N; `dtk show STUDY` lists them");
        forget_launch();  // processes of a study share its cells, and none of them
        return run_as_study(request, study);
    }
    if (study.jobs > 0 || !study.part.empty())
        throw Error(fmt::format("{} is no study: it has no [ablation]", request.file.string()),
                    "--jobs and --cell are for studies");
    if (resume && !request.resume) request.resume = "latest";
    return request.replay ? engine().replay(request) : engine().run(request);
}

int check(const fs::path& file, const Overrides& overrides) {
    if (!is_study(file, overrides)) return engine().check(file, overrides);
    Diagnostics mistakes;
    const auto study = read(file, overrides, 1, mistakes);
    if (!mistakes.empty()) return complain(mistakes);
    say_notes(study);
    fmt::print("{} is in order: {} arms × {} seeds{}\n", file.string(), study.arms.size(), study.seeds.size(),
               study.sample_seeds.empty() ? "" : fmt::format(" × {} sampling seeds", study.sample_seeds.size()));
    return done;
}

int study_power(const PowerRequest& request) {
    const auto wanted = read_smallest(request.difference);
    if (!wanted)
        throw Error(fmt::format("`--difference {}` is neither a share nor a number above 0", request.difference),
                    "write --difference 1% (of the baseline's mean), or --difference 0.02");
    const auto record = find_record(request.study.string());
    if (record.what != Record::What::study)
        throw Error(fmt::format("{} is no study", record.folder.string()), "name the folder of a study, the pilot");
    const auto study = kept_study(record.folder);
    const auto results = results_of(study, record.folder, true);
    const auto& metric = results.metrics.at(study.metrics.front());
    const auto& base = metric.arms[study.baseline];
    if (wanted->relative && !base.has_mean())
        throw UserError(
            fmt::format("{} has no mean of {} to take a share of", study.arms[study.baseline].name, metric.name),
            "give the difference as a number");
    const double difference = wanted->relative ? wanted->value * std::abs(base.mean.mean) : wanted->value;
    fmt::print("To find a difference of {:.3g} in {} {:g} times in 100, each of {} comparisons at {:.3g} %:\n\n",
               difference, metric.name, 100 * request.chance, metric.family.comparisons, 100 * metric.family.error());
    const auto text = [](const std::optional<std::size_t>& n) {
        return n ? std::to_string(*n) : std::string("more than 100,000");
    };
    std::vector<std::vector<std::string>> rows{{"arm", "spread of the differences", "seeds",
                                                fmt::format("{:g} % interval", 100 * study.level), "there are",
                                                "worth of pairing"}};
    for (std::size_t arm = 0; arm < study.arms.size(); ++arm) {
        if (arm == study.baseline) continue;
        const auto& d = metric.arms[arm].difference;
        if (!d.simultaneous) {
            rows.push_back({study.arms[arm].name, d.exact ? "none: no seed matters" : "not known", "", "",
                            std::to_string(d.estimate.n), ""});
            continue;
        }
        const auto needed = seeds_needed_by(d, difference, metric.family.error(), study.level, request.chance);
        rows.push_back({study.arms[arm].name, fmt::format("{:.3g}", d.estimate.sd), text(needed.likely),
                        fmt::format("{} … {}", text(needed.least), text(needed.most)), std::to_string(d.estimate.n),
                        fmt::format("{:.1f} ×", *d.pairing)});
    }
    print_table(rows);
    fmt::print(
        "\nThe interval is that of the spread, which {} seeds do not tell better. The worth of pairing: so many times "
        "the "
        "seeds would be needed if arms did not share them.\n",
        study.seeds.size());
    return done;
}

int report(const fs::path& folder) {
    if (!fs::exists(folder / "study.toml"))
        throw Error(fmt::format("{} is not the folder of a study", folder.string()),
                    "a study's folder holds study.toml once it has begun");
    const auto study = kept_study(folder);
    return conclude(study, results_of(study, folder, true), folder, true);
}

}  // namespace dtk::cli
