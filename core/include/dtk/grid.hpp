#pragma once
// Which times does a sampler visit? Grids. No tensor.
#include <cstdint>
#include <vector>

#include <dtk/plugin.hpp>
#include <dtk/schedule.hpp>

#define DTK_Grid_VERSION 3_0

namespace dtk {

class DTK_API Grid {
 public:
    static constexpr const char* kind = "grid";
    virtual ~Grid();
    /// Exactly n ≥ 1 real times, strictly falling, each in (−1, T−1]. The sampler itself ends at t = −1. A grid in σ/α
    /// or log-SNR asks `levels.time_of_ratio` and `levels.time`. What it answers is checked by whoever asks. Errors:
    /// Error where there are no such times.
    virtual std::vector<double> times(const NoiseLevels& levels, std::int64_t n) const = 0;
};

}  // namespace dtk
