#pragma once
// How large a step at which step? Learning-rate laws. No tensor.
#include <cstdint>

#include <dtk/plugin.hpp>

#define DTK_Rate_VERSION 2_0

namespace dtk {

class DTK_API Rate {
 public:
    static constexpr const char* kind = "rate";
    virtual ~Rate();
    /// The learning rate at step `step` of `steps` (from 0), as a share of the optimiser's own; warm-up is the
    /// trainer's.
    virtual double share(std::int64_t step, std::int64_t steps) const = 0;
};

}  // namespace dtk
