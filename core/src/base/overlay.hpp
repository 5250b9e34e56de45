#pragma once
// What --set and the axes of a study lay over the tables of an experiment.
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/registry.hpp"
#include "base/toml.hpp"

namespace dtk {

/// Which plugins there are and which of their fields are plugins themselves: their parts.
class DTK_API Parts {
 public:
    explicit Parts(const Registry& registry);
    bool is_kind(std::string_view word) const { return kinds_.contains(std::string(word)); }
    const std::set<std::string>& kinds() const { return kinds_; }
    /// The name of the plugin that the table or text names, or of its kind's default; empty where there is neither.
    std::string named(const std::string& kind, const toml::node* node) const;
    /// The parts of that plugin, with their kinds; none where it cannot be used.
    const std::map<std::string, std::string>& of(const std::string& kind, const std::string& name) const;

 private:
    const Registry& registry_;
    std::set<std::string> kinds_;
    mutable std::map<std::string, std::map<std::string, std::string>> known_;
};

/// What was laid over, and what became of what it lies on.
struct Laid {
    std::vector<std::string> notes;           ///< what was dropped with the plugin that it was set for, a line each
    std::set<std::string> left;               ///< kinds whose tables nobody may need any more
    std::set<const toml::node*> hidden = {};  ///< tables at the top that every stage took into its own
};

/// Lays KEY=VALUE over the tables. The value is TOML; a bare word is a text. What names a plugin goes before what sets
/// fields, the outer before the inner, and among equals the later wins. Another plugin takes the place of the old one
/// with its fields; the same one keeps them. Lists are reached by number or name, `metric.0.p`, `stage.student.train`.
DTK_API void lay_over(toml::table& root, const std::vector<std::string>& overrides, const Parts& parts,
                      Diagnostics& mistakes, Laid& laid);

/// Lays each [[stage]] over what stands at the top of the file, of which `again` gives a copy.
DTK_API void lay_stages(toml::table& root, const Parts& parts, const std::function<toml::table()>& again, Laid& laid);

/// The file with KEY=VALUE laid over it as if there were no plugins: enough for what stands at the top.
DTK_API toml::table read_toml(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                              Diagnostics& mistakes);

}  // namespace dtk
