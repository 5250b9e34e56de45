#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// Bytes that further processes may take: what the system has to spare (MemAvailable), or a control group (version 1 or
/// 2) where that allows less. `root` is where /proc and /sys are. → nothing where it is not known.
DTK_API std::optional<std::uint64_t> memory_left(const std::filesystem::path& root = "/");

/// May another process start that will take up to `most` bytes, when those at work hold `held` bytes each and will take
/// as much?
DTK_API bool memory_holds_another(std::uint64_t left, std::uint64_t most, const std::vector<std::uint64_t>& held);

/// Bytes that a process holds in memory; 0 where it is gone.
std::uint64_t memory_held(int process);

/// The GPUs that a process started here may use, as CUDA_VISIBLE_DEVICES names them.
DTK_API std::vector<std::string> visible_gpus(const std::filesystem::path& root = "/");

}  // namespace dtk
