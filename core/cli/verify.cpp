// dtk verify: which of the claims that experiments make about what they give hold.
#include <algorithm>

#include <fmt/format.h>

#include "base/files.hpp"
#include "base/stop.hpp"
#include "base/threads.hpp"
#include "cli/commands.hpp"
#include "cli/runs.hpp"
#include "study/claims.hpp"
#include "study/study.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;

namespace {

bool claims_something(const fs::path& file) {
    Diagnostics ignored;
    return read_toml(file, ignored).contains("expect");
}

/// Experiment files: the one that is named, or those of a folder that claim something.
std::vector<fs::path> files_in(const fs::path& path) {
    if (fs::is_regular_file(path)) return {path};
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(path, error))
        if (entry.path().extension() == ".toml" && entry.is_regular_file(error) && claims_something(entry.path()))
            files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

int say(const std::vector<CheckedClaim>& all, bool as_json) {
    if (as_json) {
        fmt::print("{}\n", claims_json(all).dump(2));
    } else {
        print_table(claims_table(all));
        fmt::print("\n{}\n", claims_summary(all));
    }
    const bool hold = std::all_of(all.begin(), all.end(),
                                  [](const CheckedClaim& one) { return one.state == CheckedClaim::State::holds; });
    return hold ? done : failed;
}

/// What a finished run claims, against what it measured.
std::vector<CheckedClaim> claims_of(const Record& run, Diagnostics& mistakes) {
    std::unique_ptr<Registry> registry;
    Overrides overrides;
    overrides.record = run.folder;
    const auto experiment = read_experiment(run.folder / "experiment.toml", overrides, registry, mistakes);
    std::vector<CheckedClaim> all;
    for (const auto& claim : read_expectations(experiment, mistakes))
        all.push_back(check_claim(run.name, claim, run.measured));
    return all;
}

}  // namespace

int verify(const VerifyRequest& request) {
    // Runs that are there already are looked at as they are.
    Diagnostics mistakes;
    std::vector<CheckedClaim> all;
    std::vector<fs::path> files;
    for (const auto& path : request.paths) {
        if (!fs::exists(path))
            throw Error(fmt::format("there is no {}", path.string()), "name an experiment file, or a folder of them");
        if (const auto record = fs::is_directory(path) ? read_record(path) : Record(); record.is_run()) {
            for (auto& one : claims_of(record, mistakes)) all.push_back(std::move(one));
            continue;
        }
        const auto found = files_in(path);
        files.insert(files.end(), found.begin(), found.end());
    }
    std::vector<std::vector<Expectation>> claims;
    const auto study = read_claims(
        files, {}, /*threads=*/1,
        [](const auto& file, const auto& laid, Diagnostics& found) { return engine().examine(file, laid, found); },
        claims, mistakes);
    if (!mistakes.empty()) return complain(mistakes);
    const auto count = all.size() + static_cast<std::size_t>(std::count_if(
                                        claims.begin(), claims.end(), [](const auto& one) { return !one.empty(); }));
    if (count == 0)
        throw Error("nothing is claimed there",
                    "add to an experiment\n    [expect]\n    metric = \"nll\"\n    value = 2.07\n    within = 0.02");
    const auto folder = fs::absolute(request.out.value_or(fs::path("runs") / "verify"));
    if (request.dry_run) {
        fmt::print("{}", plan_text(study, folder, std::max<std::int64_t>(1, request.jobs), false));
        return done;
    }

    // What has not run yet is run as the cells of a study are.
    if (!study.tasks.empty()) {
        fs::create_directories(folder);
        watch_signals();
        try {
            StudyRequest work;
            work.folder = folder;
            work.jobs = request.jobs > 0 ? request.jobs : cores_to_use().count;
            work.progress = request.progress;
            work.stop = stop_asked;
            run_study(study, work);
        } catch (const Interrupted& error) {
            fmt::print(stderr, "dtk: {}\n  = help: the same command goes on\n", error.what());
            return stop_code();
        }
    }
    for (std::size_t i = 0; i < study.cells.size(); ++i) {
        const auto& task = study.task(study.cells[i].task);
        const auto result = result_of(task, folder);
        for (const auto& claim : claims[i]) {
            const auto name = typed(study.arms[i].name);
            all.push_back(result ? check_claim(name, claim, measured_in(*result)) : CheckedClaim{name, claim});
            if (!result) all.back().why = failure_of(study, task, folder);
        }
    }
    return say(all, request.json);
}

}  // namespace dtk::cli
