#pragma once
// What is compared of two runs that ought to be the same.
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/tensor_file.hpp"
#include "run_program.hpp"

/// The lines of the log without what the clock says.
inline std::vector<nlohmann::json> log_of(const std::filesystem::path& run) {
    std::vector<nlohmann::json> all;
    std::istringstream lines(read(run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
        all.push_back(nlohmann::json::parse(line));
        all.back().erase("wall_time");
        all.back().erase("time/steps_per_s");
    }
    return all;
}

/// The bytes of every tensor of a file, by name.
inline std::map<std::string, std::string> bits_of(const std::filesystem::path& file) {
    std::map<std::string, std::string> all;
    for (auto& [name, tensor] : dtk::read_tensors(file)) all[name] = tensor.bytes;
    return all;
}
