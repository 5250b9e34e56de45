#include "base/trust.hpp"

#include <dlfcn.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr const char* trust_variable = "DTK_TRUST";

/// The folder without links and dots, as far as it exists.
fs::path plain(const fs::path& path) {
    std::error_code error;
    auto whole = fs::weakly_canonical(fs::absolute(path, error), error);
    if (error) whole = fs::absolute(path, error).lexically_normal();
    return whole.has_filename() ? whole : whole.parent_path();
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
    const auto relative = inner.lexically_relative(outer);
    return !relative.empty() && *relative.begin() != "..";
}

std::string user_name(uid_t user) {
    const auto* entry = ::getpwuid(user);
    return entry ? std::string(entry->pw_name) : fmt::format("user {}", user);
}

/// Whoever owns dtk's own files can change what it does anyway.
uid_t owner_of_dtk() {
    Dl_info found{};
    struct ::stat facts;
    const bool known = ::dladdr(reinterpret_cast<const void*>(&is_trusted), &found) != 0 && found.dli_fname &&
                       ::stat(found.dli_fname, &facts) == 0;
    return known ? facts.st_uid : ::geteuid();
}

}  // namespace

void trust(const fs::path& folder) {
    const char* before = std::getenv(trust_variable);
    const auto all = before && *before ? fmt::format("{}:{}", before, plain(folder).string()) : plain(folder).string();
    ::setenv(trust_variable, all.c_str(), 1);
}

std::vector<fs::path> trusted() {
    std::vector<fs::path> folders;
    const char* all = std::getenv(trust_variable);
    for (std::string_view list = all ? all : ""; !list.empty();) {
        const auto end = std::min(list.find(':'), list.size());
        if (const fs::path one(list.substr(0, end)); one.is_absolute()) folders.push_back(plain(one));
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return folders;
}

bool is_trusted(const fs::path& folder) {
    const auto all = trusted();
    return std::find(all.begin(), all.end(), plain(folder)) != all.end();
}

std::string writable_by_others(const fs::path& path) {
    struct ::stat facts;
    if (::stat(path.c_str(), &facts) != 0) return {};
    if (facts.st_uid != ::geteuid() && facts.st_uid != 0 && facts.st_uid != owner_of_dtk())
        return fmt::format("it belongs to {}", user_name(facts.st_uid));
    if (facts.st_mode & S_IWOTH) return "every user can write there";
    if (facts.st_mode & S_IWGRP && facts.st_gid != 0) {
        const auto* group = ::getgrgid(facts.st_gid);
        const auto name = group ? std::string(group->gr_name) : fmt::format("{}", facts.st_gid);
        if (name != user_name(facts.st_uid)) return fmt::format("the group {} can write there", name);
    }
    return {};
}

std::optional<fs::path> record_around(const fs::path& file) {
    constexpr int most_folders = 8;
    std::error_code error;
    std::optional<fs::path> outermost;
    auto folder = plain(file).parent_path();
    for (int i = 0; i < most_folders && folder.has_relative_path(); ++i, folder = folder.parent_path())
        for (const char* name : {"run.json", "study.json", "stage.toml", "resolved.toml", "result.json"})
            if (fs::exists(folder / name, error)) outermost = folder;
    return outermost;
}

bool needs_word(const fs::path& folder, bool relative, const fs::path& record) {
    return (relative || lies_in(plain(folder), plain(record))) && !is_trusted(folder);
}

}  // namespace dtk
