#pragma once
// A process of frames, whose state is [B, L, 3, 4]: the three axes of each frame, then its place in ångström.
#include <dtk/process.hpp>

namespace dtk {

class DTK_API FrameProcess : public Process {
 public:
    ~FrameProcess() override;
    /// σ of the rotations in radians, that of IGSO(3).
    virtual Coefficient rotation_sigma(const Time& t) const = 0;
    /// What places in Å are multiplied by before their process sees them.
    virtual double scale() const = 0;
};

/// The process as one of frames. Errors: Error that says that `who` needs one.
DTK_API const FrameProcess& frame_process(const Process& process, const char* who);

}  // namespace dtk
