#pragma once
// What runs and studies left, in the formats of other tools.
#include <map>

#include <dtk/schedule.hpp>

#include "study/records.hpp"

namespace dtk {

/// Into one NumPy archive. Of a run: the samples, each column of metrics.jsonl by its name, `metric/NAME` with what
/// true samples give, and `schedule/…` of the noise levels that are handed over; of several stages all of it after the
/// stage's name. Of a study: `arms`, `seeds`, `metric/NAME/value` [arms, seeds] and so on, the columns of the logs
/// [arms, seeds, steps]; NaN where there is nothing.
DTK_API void export_npz(const Record& record, const std::filesystem::path& file,
                        const std::map<std::string, NoiseLevels>& levels = {});

/// Into event files of TensorBoard's under that folder; a stage, or an arm and a seed, has a folder of its own in it.
DTK_API void export_tensorboard(const Record& record, const std::filesystem::path& folder);

/// The training's log as a table, a line for each logged step; of a study with arm and seed before it.
DTK_API void export_csv(const Record& record, const std::filesystem::path& file);

/// results.npz and tensorboard/ in the folder of a study, as far as it has come.
DTK_API void write_exports(const std::filesystem::path& study);

}  // namespace dtk
