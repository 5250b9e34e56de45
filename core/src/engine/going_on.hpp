#pragma once
// What a run that has begun is asked to do from now on, held against what it was asked before.
#include <map>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "base/changes.hpp"
#include "engine/artefacts.hpp"
#include "engine/run_folder.hpp"

namespace dtk {

/// How far a stage of a run has come.
struct Standing {
    std::filesystem::path folder;
    std::optional<std::filesystem::path> checkpoint;  ///< the newest that is whole
    std::int64_t step = 0;                            ///< that it is of
};

/// How the experiment of a run differs from what it was.
struct GoingOn {
    nlohmann::json entry;            ///< for the history in run.json: time, from which steps, changes
    std::vector<std::string> notes;  ///< the same in words, a line each
    bool only_idle = true;           ///< nothing of what comes out can change
};

/// `stages`: as they are built now; `standings`: by their names; `set`: what the command line sets; `accept_changed`:
/// other data and plugins are recorded and no mistake. Errors: UserError with all that may not change, why, and what
/// can be done instead.
GoingOn go_on(const RunFolder& run, const Loaded& loaded, const std::map<std::string, std::shared_ptr<Stage>>& stages,
              const std::map<std::string, Standing>& standings, const std::vector<std::string>& set,
              bool accept_changed);

}  // namespace dtk
