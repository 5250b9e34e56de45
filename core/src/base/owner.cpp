#include "base/owner.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t longest_host = 64;

bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

std::string host_name() {
    char name[256] = {};
    ::gethostname(name, sizeof name - 1);
    const char* posed = std::getenv("DTK_HOST");
    std::string host = posed && *posed ? posed : name;
    if (host.size() > longest_host) host.resize(longest_host);
    for (auto& c : host)
        if (!is_plain(c)) c = '_';
    return host;
}

/// A UUID without its dashes.
std::string boot_id() {
    std::ifstream in("/proc/sys/kernel/random/boot_id");
    std::string id;
    in >> id;
    std::erase(id, '-');
    const bool is_hex = std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isxdigit(c); });
    return id.size() == 32 && is_hex ? id : std::string();
}

/// pid:[4026531836] → 4026531836
std::string pid_namespace() {
    std::error_code error;
    const auto name = fs::read_symlink("/proc/self/ns/pid", error).string();
    const auto begin = name.find('['), end = name.find(']');
    return begin == name.npos || end == name.npos ? std::string() : name.substr(begin + 1, end - begin - 1);
}

/// Field 22 of proc(5)'s stat. The second one is the program's name in brackets, which may hold anything.
std::string start_of(const std::string& process) {
    std::ifstream in("/proc/" + process + "/stat", std::ios::binary);
    const std::string stat{std::istreambuf_iterator<char>(in), {}};
    auto at = stat.rfind(')');
    for (int field = 2; field < 22 && at != stat.npos; ++field) at = stat.find(' ', at + 1);
    if (at == stat.npos) return {};
    return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

/// Does /proc count processes as this one's namespace does? Not in a namespace that was made without mounting it anew.
bool proc_is_ours() {
    std::error_code error;
    return fs::read_symlink("/proc/self", error).string() == std::to_string(::getpid());
}

}  // namespace

Owner Owner::self() {
    static const auto boot = boot_id();
    return {host_name(), boot, pid_namespace(), ::getpid(), start_of("self")};
}

std::string Owner::word() const { return fmt::format("{}-{}-{}-{}-{}", pid, start, namespace_, boot, host); }

std::optional<Owner> Owner::of(std::string_view word) {
    std::array<std::string, 4> parts;
    for (auto& part : parts) {
        const auto end = word.find('-');
        if (end == word.npos) return std::nullopt;
        part = word.substr(0, end);
        word.remove_prefix(end + 1);
    }
    Owner owner{std::string(word), parts[3], parts[2], 0, parts[1]};
    const auto* end = parts[0].data() + parts[0].size();
    const auto [stop, error] = std::from_chars(parts[0].data(), end, owner.pid);
    if (error != std::errc() || stop != end || owner.pid <= 0 || owner.host.empty()) return std::nullopt;
    return owner;
}

std::string Owner::text() const { return fmt::format("process {} on host {}", pid, host); }

bool Owner::gone() const {
    const auto here = self();
    if (host != here.host || boot.empty() || namespace_.empty() || start.empty()) return false;
    // Whatever ran before the machine was started again has ended; but containers may share a name and nothing else.
    if (boot != here.boot || namespace_ != here.namespace_) return false;
    if (::kill(pid, 0) != 0 && errno == ESRCH) return true;
    // The number may have been given to another process since.
    if (!proc_is_ours()) return false;
    const auto begun = start_of(std::to_string(pid));
    return !begun.empty() && begun != start;
}

}  // namespace dtk
