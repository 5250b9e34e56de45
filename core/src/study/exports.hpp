#pragma once
// What runs and studies left, in the formats of other tools.
#include <functional>
#include <optional>
#include <vector>

#include <dtk/schedule.hpp>

#include "study/run_store.hpp"

namespace dtk {

/// A format of another tool.
struct Exporter {
    /// The noise levels that the process of a run or stage was trained with, by its folder; nothing where there are
    /// none.
    using Levels = std::function<std::optional<NoiseLevels>(const std::filesystem::path& folder)>;

    const char *name, *what;        ///< as it is asked for, and in a few words
    const char *of_run, *of_study;  ///< what it is called beside a run and beside a study; null where there is none
    bool folder;                    ///< it writes several files into a folder
    /// Errors: UserError where the record has nothing for it.
    void (*write)(const Record& record, const std::filesystem::path& out, const Levels& levels);
};

/// All there are. `npz` holds, of a run, the samples, each column of metrics.jsonl by its name, `metric/NAME` with what
/// true samples give, and `schedule/…`; of several stages all of it after the stage's name; of a study `arms`, `seeds`,
/// `sample_seeds`, `metric/NAME/value` [arms, seeds, sample seeds] and so on, the columns of the logs with steps as the
/// last axis; NaN where there is nothing. Of TensorBoard's event files a stage, or a cell, has a folder of its own.
DTK_API const std::vector<Exporter>& exporters();

/// results.npz and tensorboard/ in the folder of a study, as far as it has come.
DTK_API void write_exports(const std::filesystem::path& study);

}  // namespace dtk
