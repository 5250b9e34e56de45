#pragma once
// A process of frames, whose state is [B, L, 3, 4]: the three axes of each frame, then its place in ångström.
#include <dtk/process.hpp>

namespace dtk {

class DTK_API FrameProcess : public Process {
 public:
    ~FrameProcess() override;
    /// What places in Å are multiplied by before noise of size 1 is added.
    virtual double scale() const = 0;
};

/// One that adds noise of IGSO(3) to rotations.
class DTK_API FrameDiffusion : public FrameProcess {
 public:
    ~FrameDiffusion() override;
    virtual Coefficient rotation_sigma(const Time& t) const = 0;  ///< in radians
};

/// The process as one of frames. Errors: Error that says that `who` needs one.
DTK_API const FrameProcess& frame_process(const Process& process, const char* who);
/// The same of one that adds noise.
DTK_API const FrameDiffusion& frame_diffusion(const Process& process, const char* who);

}  // namespace dtk
