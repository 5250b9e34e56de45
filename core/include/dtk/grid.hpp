#pragma once
#include <cstdint>
#include <vector>

#include <dtk/plugin.hpp>

#define DTK_Grid_VERSION 1

namespace dtk {

class NoiseLevels;

/// Which times does a sampler visit?
class DTK_API Grid {
 public:
    static constexpr const char* kind = "grid";
    virtual ~Grid();
    /// Exactly n times, strictly falling, each in [0, T−1] (T = levels.steps(), whole numbers where the process knows
    /// only its steps), 1 ≤ n ≤ T. The sampler itself ends at t = −1, before the first step. Errors: Error where there
    /// are no such times.
    virtual std::vector<double> times(const NoiseLevels& levels, std::int64_t n) const = 0;
};

}  // namespace dtk
