#pragma once
// What training has made, as a file.
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include <dtk/optimizer.hpp>

#include "engine/stage.hpp"

namespace dtk {

/// What training has made, at one step: the tensors of every plugin, their averages, the state of all that has some.
/// A file of it says everything that is needed to use it again: the experiment as resolved, the step, what the network
/// saw.
struct Checkpoint {
    std::int64_t step = 0;
    std::string experiment;                        ///< the stage as an experiment file of its own
    NamedTensors tensors;                          ///< "model.…", "process.…", "loss.…", "times.…"
    std::map<std::string, NamedTensors> averages;  ///< by the average's name, of the trained tensors
    NamedTensors optimizer;                        ///< Optimizer::state
    NamedTensors sums;                             ///< of the metrics since their last line
    NamedTensors pending;                          ///< errors that the time sampler has not been told of
    RememberedData data = {};                      ///< what is known of the data, of a checkpoint that was read
    double data_sd = 0;                            ///< of the data, where the network's input depends on it
};

DTK_API void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint, const Stage& stage);

/// Errors: UserError when the file is no checkpoint of dtk's, is damaged (a bit of its tensors, its step or its
/// experiment is not the one that was saved), or says a step that its own experiment does not have.
DTK_API Checkpoint load_checkpoint(const std::filesystem::path& path);

/// Where the name says a width, "width=0.08", the average of that width at that step becomes one of the checkpoint's,
/// made of the copies in the stage's folder. Errors: UserError where there are none.
DTK_API void add_made_average(Checkpoint& checkpoint, const std::string& name, const std::filesystem::path& stage,
                              std::int64_t step);

/// Which of a checkpoint's averages is meant in [sample]: that of that name; the first for an empty one; none for
/// "none". → null where it is the parameters themselves. Errors: UserError where there is none of that name.
DTK_API const NamedTensors* average_of(const Stage& stage, const Checkpoint& checkpoint, const std::string& name);

/// Puts the tensors, those that `average` holds from there, into the stage's plugins. Errors: UserError naming what is
/// missing, left over or of another shape.
DTK_API void restore(Stage& stage, const Checkpoint& checkpoint, const NamedTensors* average, const std::string& from);

/// Of the checkpoints in a folder, whatever their files are called, the one with the highest step inside that reads
/// without fault and belongs to the run: seed, data, process, model and loss are those of stage.toml beside the folder.
/// What was passed over, and why, is said in `notes`. `most`: none of a later step.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& folder, std::string& notes,
                                                       std::int64_t most = std::numeric_limits<std::int64_t>::max());

/// The one of that step. Errors: UserError that names the steps there are.
std::filesystem::path checkpoint_of_step(const std::filesystem::path& folder, std::int64_t step);

/// Removes all but the newest `keep` of the files that checkpoint_path names, those of every so many steps, and the one
/// of step `best`.
void prune_checkpoints(const std::filesystem::path& folder, std::int64_t keep, std::int64_t every, std::int64_t best);

std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step);

}  // namespace dtk
