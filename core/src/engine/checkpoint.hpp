#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "engine/stage.hpp"

namespace dtk {

/// What training has made, at one step: the tensors of every plugin, their average, the optimiser's moments.
/// A file of it says everything that is needed to use it again: the experiment as resolved, the step, what the network
/// saw.
struct Checkpoint {
    std::int64_t step = 0;
    std::string experiment;                      ///< the stage as an experiment file of its own
    std::map<std::string, Tensor> tensors;       ///< "model.…", "process.…", "loss.…"
    std::map<std::string, Tensor> averages;      ///< the same names; empty where no average is kept
    std::map<std::string, Tensor> mean, square;  ///< Adam's moments
};

DTK_API void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint, const Stage& stage);

/// Errors: Mistaken when the file is no checkpoint of dtk's, is damaged (a bit of its tensors, its step or its
/// experiment is not the one that was saved), or says a step that its own experiment does not have.
DTK_API Checkpoint load_checkpoint(const std::filesystem::path& path);

/// Puts the tensors (their averages, if asked for and there) into the stage's plugins. Errors: Mistaken naming what is
/// missing, left over or of another shape.
DTK_API void restore(Stage& stage, const Checkpoint& checkpoint, bool averages, const std::string& from);

/// Of the checkpoints in a folder, whatever their files are called, the one with the highest step inside that reads
/// without fault and belongs to the run: seed, data, process, model and loss are those of stage.toml beside the folder.
/// What was passed over, and why, is said in `notes`.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& folder, std::string& notes);

std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step);

}  // namespace dtk
