#pragma once
#include <map>
#include <string>

namespace dtk::cli {

/// The files of cli/templates by name: the smallest right plugin of each kind, and an experiment to try it in.
const std::map<std::string, std::string>& templates();

}  // namespace dtk::cli
