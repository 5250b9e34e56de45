#pragma once
// How does training draw t?
#include <dtk/dataset.hpp>
#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>

#define DTK_Times_VERSION 4_0

namespace dtk {

/// Times drawn for a batch, and the weight that keeps a mean over them unbiased for uniform t.
struct SampledTimes {
    Time t;              ///< in −1 < t ≤ T−1, whole where the process knows only whole steps
    Coefficient weight;  ///< 1 where t is drawn uniformly
};

/// It may own tensors (buffers), which are saved with a checkpoint.
class DTK_API Times : public Module {
 public:
    static constexpr const char* kind = "times";
    ~Times() override;
    /// A time for every row of the batch. Row i takes its numbers from row i of `random`; what depends on the other
    /// rows goes by `batch.first` and `batch.of`, so that computing a batch in parts changes nothing.
    virtual SampledTimes draw(const Batch& batch, const Process& process, const Random& random) const = 0;
    /// Told the plain error of each example [B] float64 on the CPU and its time, before weighting, in the order of the
    /// steps.
    virtual void observe([[maybe_unused]] const Time& t, [[maybe_unused]] const Tensor& error) {}
    /// Does it want to be told? Then every ten steps it is.
    virtual bool observes() const { return false; }
};

}  // namespace dtk
