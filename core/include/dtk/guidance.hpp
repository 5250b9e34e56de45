#pragma once
// Guidance: a function around a denoiser that steers what is drawn.
#include <dtk/build_context.hpp>
#include <dtk/denoiser.hpp>
#include <dtk/plugin.hpp>

#define DTK_Guidance_VERSION 3_0

namespace dtk {

/// The list [[guidance]] of an experiment is applied in the order written, each around what stands before it.
class DTK_API Guidance {
 public:
    static constexpr const char* kind = "guidance";
    virtual ~Guidance();
    /// The denoiser that sampling asks in place of `denoise`; the guidance lives longer.
    virtual Denoiser around(Denoiser denoise) const = 0;
    /// Does it move the mean of reverse steps? Then only samplers that draw those can use it.
    virtual bool moves_steps() const { return false; }
    /// Does it ask the network without its condition? Then the network must have been trained so too.
    virtual bool needs_null_condition() const { return false; }
};

/// The network told its condition and not told it, both in one batch.
struct Halves {
    Prediction with, without;
};
DTK_API Halves both_halves(const Denoiser& denoise, const Tensor& x, const Time& t, const Condition& condition);

}  // namespace dtk
