#include "base/threads.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr const char* by_quota = "the container's quota";
std::int64_t sharing = 1;  // processes of one run on this machine

/// OMP_NUM_THREADS may be a list, one for each level of nesting; the first counts.
std::optional<std::int64_t> asked_by_openmp() {
    const char* said = std::getenv("OMP_NUM_THREADS");
    if (!said) return std::nullopt;
    const std::string_view text(said);
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    const bool whole = error == std::errc() && (end == text.data() + text.size() || *end == ',');
    return whole && count > 0 ? std::optional(count) : std::nullopt;
}

std::int64_t cores_of_this_process() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
    return std::max(1u, std::thread::hardware_concurrency());
}

/// The cores that a group's quota pays for: "200000 100000" in cpu.max, or the two numbers in files of their own.
std::optional<double> quota_of(const fs::path& group) {
    double quota = 0, period = 0;
    if (std::ifstream max(group / "cpu.max"); max) {
        std::string first;
        if (max >> first >> period && first != "max") quota = std::atof(first.c_str());
    } else {
        std::ifstream(group / "cpu.cfs_quota_us") >> quota;
        std::ifstream(group / "cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? std::optional(quota / period) : std::nullopt;
}

/// The least quota of this process's group and those around it.
std::optional<double> container_quota(const fs::path& control_groups, const fs::path& own_groups) {
    std::optional<double> least;
    std::ifstream in(own_groups);
    for (std::string line; std::getline(in, line);) {
        // number:controllers:path; version 2 names no controllers
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (second == line.npos) continue;
        const auto controllers = line.substr(first + 1, second - first - 1);
        if (!controllers.empty() && controllers.find("cpu") == controllers.npos) continue;
        const auto top = controllers.empty() ? control_groups : control_groups / controllers;
        for (auto group = fs::path(line.substr(second + 1)).relative_path();; group = group.parent_path()) {
            if (const auto quota = quota_of(top / group); quota && (!least || *quota < *least)) least = quota;
            if (group.empty()) break;
        }
    }
    return least;
}

}  // namespace

Threads cores_to_use(const fs::path& control_groups, const fs::path& own_groups) {
    Threads threads{cores_of_this_process(), {}};
    if (threads.count < ::sysconf(_SC_NPROCESSORS_ONLN)) threads.why = "the cores this process may run on";
    if (const auto quota = container_quota(control_groups, own_groups)) {
        // Half a core beyond a whole one is worth a thread; less makes the others wait.
        const auto paid = std::max<std::int64_t>(1, std::llround(*quota));
        if (paid < threads.count) threads = {paid, by_quota};
    }
    return threads;
}

void share_machine(std::int64_t processes) { sharing = processes; }

Threads threads_for(std::int64_t asked) {
    if (asked > 0) return {asked, {}};
    if (const auto openmp = asked_by_openmp()) return {*openmp, "OMP_NUM_THREADS"};
    auto threads = cores_to_use();
    // A launcher may have given each process cores of its own; a container's quota is of all of them.
    const bool own = threads.why != by_quota && threads.count * sharing <= ::sysconf(_SC_NPROCESSORS_ONLN);
    if (sharing > 1 && !own)
        threads = {std::max<std::int64_t>(1, threads.count / sharing),
                   std::to_string(sharing) + " processes share " + std::to_string(threads.count) + " cores"};
    return threads;
}

}  // namespace dtk
