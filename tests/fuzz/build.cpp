// What the readers ask the build about itself, answered for a build that loads no plugin.
#include "base/build.hpp"

namespace dtk {

std::string_view base_build_text() { return "fuzz"; }
std::string_view torch_build_text() { return "fuzz"; }
std::string_view base_build_id() { return "fuzz"; }
std::string_view torch_build_id() { return "fuzz"; }
std::string_view version() { return "fuzz"; }
std::vector<std::filesystem::path> files_of_dtk() { return {}; }
std::string sha256_of_dtk() { return {}; }
std::string text_of(const InterfaceVersion&) { return {}; }
const std::map<std::string, InterfaceVersion>& interface_versions() {
    static const std::map<std::string, InterfaceVersion> none;
    return none;
}

}  // namespace dtk
