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

/// What the process of a run or stage was trained with; one without a network has none that could be told.
std::optional<NoiseLevels> levels_of(const fs::path& folder) {
    if (!fs::exists(folder / "checkpoints")) return std::nullopt;
    try {
        return engine().levels(folder);
    } catch (const Error& error) {
        const std::string reason = error.what();
        fmt::print(stderr, "no noise levels of {}: {}\n", typed(folder), reason.substr(0, reason.find('\n')));
        return std::nullopt;
    }
}

}  // namespace

int export_run(const ExportRequest& request) {
    const auto r = find_record(request.run);
    const bool study = r.what == Record::What::study;
    if (r.what == Record::What::damaged)
        throw UserError(fmt::format("{} is damaged: {}", r.folder.string(), r.problem));
    if (study && r.cells.empty())
        throw UserError(fmt::format("{} does not say what its cells are: it is of an older dtk", r.folder.string()),
                        "the same `dtk run` as before writes it anew");
    const auto exporter = std::find_if(exporters().begin(), exporters().end(),
                                       [&](const Exporter& one) { return one.name == request.to; });
    if (exporter == exporters().end()) throw UserError(fmt::format("there is no format `{}`", request.to));
    const auto* usual = study ? exporter->of_study : exporter->of_run;
    if (!usual)
        throw study ? UserError(fmt::format("{} is a study, and `{}` is for runs", r.folder.string(), request.to),
                                "name one of its cells: `dtk show` lists their folders")
                    : UserError(fmt::format("{} is no study, and `{}` is for studies", r.folder.string(), request.to),
                                "its metrics and samples: dtk export … --to npz");
    const auto out = request.out.value_or(r.folder / usual);
    if (!exporter->folder && fs::is_directory(out))
        throw UserError(fmt::format("{} is a folder", out.string()), "name a file: --out numbers." + request.to);
    if (exporter->folder && fs::is_regular_file(out))
        throw UserError(fmt::format("{} is a file", out.string()), "name a folder: it holds several files");
    if (out.has_parent_path()) {
        std::error_code error;
        fs::create_directories(out.parent_path(), error);
        if (error)
            throw UserError(fmt::format("cannot make the folder {}: {}", out.parent_path().string(), error.message()),
                            "give another --out");
    }
    exporter->write(r, out, levels_of);
    fmt::print("{}\n", typed(out));
    if (request.to == "tensorboard") fmt::print(stderr, "look at it with: tensorboard --logdir {}\n", typed(out));
    return done;
}

}  // namespace dtk::cli
