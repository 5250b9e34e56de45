#pragma once
// What `dtk plugins check` asks of the laws, which need LibTorch and are opened when it does.
#include <filesystem>
#include <functional>
#include <string>

#include "base/registry.hpp"
#include "base/toml.hpp"

namespace dtk {

/// How a law stands.
struct LawVerdict {
    enum class Outcome { holds, broken, not_asked };
    std::string law;  ///< "a gradient reaches every parameter"
    Outcome outcome = Outcome::holds;
    std::string figures;  ///< what is wrong, or the value nearest to its limit, or why nothing was asked
};

/// "holds", "broken", "not asked"
constexpr const char* text_of(LawVerdict::Outcome outcome) {
    return outcome == LawVerdict::Outcome::holds    ? "holds"
           : outcome == LawVerdict::Outcome::broken ? "broken"
                                                    : "not asked";
}

class Laws {
 public:
    virtual ~Laws() = default;
    /// Tries those of the plugin's kind whose words hold `only`, in this process. named: what its author names, tables
    /// by kinds, with paths relative to `folder`. begin(law) is called before each, told(verdict) after it.
    virtual void try_on(const Registry& registry, const PluginFile& plugin, const toml::table& named,
                        const std::filesystem::path& folder, const std::string& only,
                        const std::function<void(const std::string& law)>& begin,
                        const std::function<void(const LawVerdict& verdict)>& told) = 0;
    /// Draws what it does, where its kind has a picture (laws/picture.hpp).
    virtual void draw(const Registry& registry, const PluginFile& plugin, const toml::table& named,
                      const std::filesystem::path& folder, const std::filesystem::path& picture) = 0;
};

}  // namespace dtk
