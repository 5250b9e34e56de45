#pragma once
// What changes from arm to arm of a study, and the arms that come of it.
#include "study/study.hpp"

namespace dtk {

/// What changes from arm to arm: one key, or several that change together.
struct Axis {
    std::vector<std::string> keys;
    std::vector<std::vector<std::string>> values = {};     ///< for each value of the axis one TOML value for each key
    std::vector<std::vector<SourceLocation>> places = {};  ///< where those stand
    std::vector<std::string> names = {};
};

/// The axes of [ablation]; nothing where they do not say what varies.
std::optional<std::vector<Axis>> read_axes(const toml::table& ablation, Diagnostics& mistakes);

/// What an exclusion names must be what some axis has.
void check_exclusions(const toml::array* excluded, const std::vector<Axis>& axes, Diagnostics& mistakes);

/// Every combination of the axes' values but those that are excluded.
std::vector<Arm> arms_of(const std::vector<Axis>& axes, const toml::array* excluded);

/// Every arm has a name of its own, which its folder can bear; the baseline is one of them.
void check_arms(Study& study, const std::string& baseline, const toml::table& table, Diagnostics& mistakes);

}  // namespace dtk
