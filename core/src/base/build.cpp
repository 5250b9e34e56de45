#include "base/build.hpp"

#include <fmt/format.h>
#include <torch/headeronly/version.h>
#include <boost/dll/runtime_symbol_info.hpp>

#include <dtk/build.hpp>

#include "base/files.hpp"

namespace dtk {

std::string_view base_build_text() { return DTK_BASE_BUILD_TEXT; }
std::string_view torch_build_text() { return DTK_TORCH_BUILD_TEXT; }
std::string_view base_build_id() { return DTK_TEXT(DTK_BASE_BUILD_ID); }
std::string_view torch_build_id() { return DTK_TEXT(DTK_TORCH_BUILD_ID_OF_HOST); }
std::string_view version() { return DTK_VERSION; }

std::vector<std::filesystem::path> files_of_dtk() {
    const std::filesystem::path program = boost::dll::program_location().string(), folder = program.parent_path();
    std::vector<std::filesystem::path> files{program};
    for (const auto& library : {"core/libdtk_base.so", "core/libdtk.so", "../lib/libdtk_base.so", "../lib/libdtk.so"})
        if (std::filesystem::exists(folder / library)) files.push_back(folder / library);
    return files;
}

std::string sha256_of_dtk() {
    std::string all;
    for (const auto& file : files_of_dtk()) all += sha256_of_file(file);
    return sha256(all);
}

std::string text_of(const InterfaceVersion& version) { return fmt::format("{}.{}", version.major, version.minor); }

const std::map<std::string, InterfaceVersion>& interface_versions() {
    static const std::map<std::string, InterfaceVersion> versions{
#include "interfaces.inc"
    };
    return versions;
}

}  // namespace dtk
