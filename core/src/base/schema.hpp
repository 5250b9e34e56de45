#pragma once
// What an experiment file may hold, as a JSON schema for editors.
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/registry.hpp"

namespace dtk {

/// Every table of an experiment, and every plugin of the registry with its fields (draft 7). Loads them all. `left_out`
/// is told of those that cannot be used.
DTK_API nlohmann::json experiment_schema(const Registry& registry, std::vector<std::string>& left_out);

}  // namespace dtk
