#pragma once
// A stage's network that begins as one that has been trained: [init].
#include <filesystem>
#include <string>

#include "engine/stage.hpp"

namespace dtk {

/// The checkpoint that the network of the run or stage in that folder is read from. Errors: UserError where it has
/// none.
std::filesystem::path init_checkpoint(const std::filesystem::path& run);

/// Can the stage begin so? By the header of the checkpoint alone. Errors: UserError where no tensor of the model fits,
/// or where one does not and all must: `strict`, or there is no [train] that would make up for it.
void check_init(const Stage& stage, const std::filesystem::path& checkpoint);

/// Copies every tensor of the model and the process that has a counterpart of its name and shape → what was taken and
/// what not, a line for each. Errors: as check_init.
std::string begin_as(Stage& stage, const std::filesystem::path& checkpoint);

}  // namespace dtk
