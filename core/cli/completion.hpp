#pragma once
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dtk::cli {

/// What a shell reads once so that it completes dtk's commands. shell: bash, zsh or fish.
std::string completion_script(const std::string& shell);
/// What the last of the words after `dtk` may become, one each; none where it is a file, which the shell knows better.
std::vector<std::string> completions(const CLI::App& app, const std::vector<std::string>& words);

}  // namespace dtk::cli
