#include "study/memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// The number that stands alone in a file, or after `name` in one of its lines; nothing where there is none ("max").
std::optional<std::uint64_t> number_in(const fs::path& file, const std::string& name = {}) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string word;
        std::uint64_t value = 0;
        if (!name.empty() && (!(words >> word) || word != name)) continue;
        if (words >> value) return value;
    }
    return std::nullopt;
}

/// What a control group, the innermost of `path`, and those around it leave.
std::optional<std::uint64_t> left_in_groups(const fs::path& mount, const fs::path& path, bool second_version) {
    std::optional<std::uint64_t> least;
    for (auto group = path.relative_path();; group = group.parent_path()) {
        const auto folder = mount / group;
        const auto limit = number_in(folder / (second_version ? "memory.max" : "memory.limit_in_bytes"));
        const auto used = number_in(folder / (second_version ? "memory.current" : "memory.usage_in_bytes"));
        if (limit && used) {
            // Pages of files that nobody has used lately are given up for the asking.
            const auto cached =
                number_in(folder / "memory.stat", second_version ? "inactive_file" : "total_inactive_file").value_or(0);
            const auto held = *used - std::min(*used, cached);
            least = std::min(least.value_or(UINT64_MAX), *limit - std::min(*limit, held));
        }
        if (group.empty()) return least;
    }
}

}  // namespace

std::optional<std::uint64_t> memory_left(const fs::path& root) {
    auto left = number_in(root / "proc/meminfo", "MemAvailable:");
    if (left) *left *= 1024;
    std::ifstream groups(root / "proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == line.npos || second == line.npos) continue;
        const auto controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool second_version = controllers == ",,";
        if (!second_version && controllers.find(",memory,") == controllers.npos) continue;
        const auto allowed = left_in_groups(root / (second_version ? "sys/fs/cgroup" : "sys/fs/cgroup/memory"),
                                            line.substr(second + 1), second_version);
        if (allowed) left = std::min(left.value_or(UINT64_MAX), *allowed);
    }
    return left;
}

bool memory_holds_another(std::uint64_t left, std::uint64_t most, const std::vector<std::uint64_t>& held) {
    if (held.empty()) return true;  // one is always tried
    auto wanted = most;
    for (const auto bytes : held) wanted += most - std::min(most, bytes);
    return wanted <= left;
}

std::uint64_t memory_held(int process) {
    std::ifstream in(fs::path("/proc") / std::to_string(process) / "statm");
    std::uint64_t size = 0, resident = 0;
    in >> size >> resident;
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::vector<std::string> visible_gpus(const fs::path& root) {
    std::vector<std::string> gpus;
    if (const char* said = std::getenv("CUDA_VISIBLE_DEVICES")) {
        std::istringstream list(said);
        for (std::string gpu; std::getline(list, gpu, ',');)
            if (!gpu.empty()) gpus.push_back(gpu);
        return gpus;
    }
    for (int number = 0; fs::exists(root / "dev" / ("nvidia" + std::to_string(number))); ++number)
        gpus.push_back(std::to_string(number));
    return gpus;
}

}  // namespace dtk
