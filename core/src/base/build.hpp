#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// What this dtk was built with, in the words of dtk/build.hpp; a plugin must say the same.
DTK_API std::string_view base_build_text();
DTK_API std::string_view torch_build_text();
/// Short hashes of the two, as they stand in plugins' symbol names.
DTK_API std::string_view base_build_id();
DTK_API std::string_view torch_build_id();
DTK_API std::string_view version();
/// The files of the program itself, where they are now, and one hash of them.
DTK_API std::vector<std::filesystem::path> files_of_dtk();
DTK_API std::string sha256_of_dtk();

/// Of a kind's interface. A plugin goes with a dtk of the same major and no lower minor version.
struct InterfaceVersion {
    int major = 0, minor = 0;
    bool takes(const InterfaceVersion& plugin) const { return major == plugin.major && minor >= plugin.minor; }
    bool operator==(const InterfaceVersion&) const = default;
};
/// "3.0"
DTK_API std::string text_of(const InterfaceVersion& version);
/// Of every kind of plugin, by its name in small letters.
DTK_API const std::map<std::string, InterfaceVersion>& interface_versions();

}  // namespace dtk
