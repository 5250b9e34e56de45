// dtk export
#include <algorithm>

#include <fmt/format.h>

#include "base/engine.hpp"
#include "cli/commands.hpp"
#include "cli/runs.hpp"
#include "study/exports.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;

namespace {

/// What the processes of the run were trained with; a stage without a network has none that could be told.
std::map<std::string, NoiseLevels> levels_of(const Record& run) {
    std::map<std::string, NoiseLevels> all;
    for (const auto& [stage, folder] : stages_of(run)) {
        if (!fs::exists(folder / "checkpoints")) continue;
        try {
            all.emplace(stage, engine().levels(folder));
        } catch (const Error& error) {
            fmt::print(stderr, "no noise levels of {}: {}\n", typed(folder),
                       std::string(error.what()).substr(0, std::string(error.what()).find('\n')));
        }
    }
    return all;
}

}  // namespace

int export_run(const ExportRequest& request) {
    const auto r = find_record(request.run);
    const bool study = r.what == Record::What::study;
    if (r.what == Record::What::damaged) throw Mistaken(fmt::format("{} is damaged: {}", r.folder.string(), r.problem));
    if (study && r.cells.empty())
        throw Mistaken(fmt::format("{} does not say what its cells are: it is of an older dtk", r.folder.string()),
                       "write its report anew, and it will: dtk report " + typed(r.folder));
    const auto usual = request.to == "npz"   ? (study ? "results.npz" : "run.npz")
                       : request.to == "csv" ? (study ? "curves.csv" : "metrics.csv")
                                             : "tensorboard";
    const auto out = request.out.value_or(r.folder / usual);
    if (request.to != "tensorboard" && fs::is_directory(out))
        throw Mistaken(fmt::format("{} is a folder", out.string()), "name a file: --out numbers." + request.to);
    if (request.to == "tensorboard" && fs::is_regular_file(out))
        throw Mistaken(fmt::format("{} is a file", out.string()), "name a folder: event files lie in one");
    const auto has_log = [](const auto& stage) { return fs::exists(stage.second / "metrics.jsonl"); };
    if (const auto stages = stages_of(r);
        request.to == "csv" && !study && std::none_of(stages.begin(), stages.end(), has_log))
        throw Mistaken(fmt::format("{} has no log: nothing was trained", r.folder.string()),
                       "its metrics and samples: dtk export … --to npz");
    if (out.has_parent_path()) {
        std::error_code error;
        fs::create_directories(out.parent_path(), error);
        if (error)
            throw Mistaken(fmt::format("cannot make the folder {}: {}", out.parent_path().string(), error.message()),
                           "give another --out");
    }
    if (request.to == "npz")
        export_npz(r, out, r.is_run() ? levels_of(r) : std::map<std::string, NoiseLevels>{});
    else if (request.to == "csv")
        export_csv(r, out);
    else
        export_tensorboard(r, out);
    fmt::print("{}\n", typed(out));
    if (request.to == "tensorboard") fmt::print(stderr, "look at it with: tensorboard --logdir {}\n", typed(out));
    return done;
}

}  // namespace dtk::cli
