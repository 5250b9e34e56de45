#include "base/build.hpp"

#include <torch/headeronly/version.h>

#include <dtk/build.hpp>

namespace dtk {

std::string_view base_build_text() { return DTK_BASE_BUILD_TEXT; }
std::string_view torch_build_text() { return DTK_TORCH_BUILD_TEXT; }
std::string_view base_build_id() { return DTK_TEXT(DTK_BASE_BUILD_ID); }
std::string_view torch_build_id() { return DTK_TEXT(DTK_TORCH_BUILD_ID_OF_HOST); }
std::string_view version() { return DTK_VERSION; }


const std::map<std::string, int>& interface_versions() {
    static const std::map<std::string, int> versions{
#include "interfaces.inc"
    };
    return versions;
}

}  // namespace dtk
