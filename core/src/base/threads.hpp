#pragma once
// How many threads this process may use, and who says so.
#include <cstdint>
#include <filesystem>
#include <string>

#include <dtk/api.hpp>

namespace dtk {

struct Threads {
    std::int64_t count = 1;
    std::string why;  ///< "OMP_NUM_THREADS"; empty: as many as there are cores
};

/// The cores that this process may run on and that its container's quota pays for, at least one. `control_groups` and
/// `own_groups`: where Linux tells of the quota.
DTK_API Threads cores_to_use(const std::filesystem::path& control_groups = "/sys/fs/cgroup",
                             const std::filesystem::path& own_groups = "/proc/self/cgroup");

/// From now on so many processes of one run share this machine.
DTK_API void share_machine(std::int64_t processes);

/// As many as are asked for; for 0 what $OMP_NUM_THREADS says, or as many as there are cores to use, divided among the
/// processes of the run where they may use the same ones.
DTK_API Threads threads_for(std::int64_t asked);

}  // namespace dtk
