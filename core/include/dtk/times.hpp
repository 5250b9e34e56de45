#pragma once
#include <dtk/dataset.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>

#define DTK_Times_VERSION 1

namespace dtk {

/// Times drawn for a batch, and the weight that keeps a mean over them unbiased for uniform t.
struct DrawnTimes {
    Tensor t;       ///< [B] float64, whole numbers in 0 … T−1
    Tensor weight;  ///< [B] float64, 1 where t is drawn uniformly
};

/// How does training draw t?
class DTK_API Times {
 public:
    static constexpr const char* kind = "times";
    virtual ~Times();
    /// A time for every row of the batch. Row i takes its numbers from row i of `random`; what depends on the other
    /// rows goes by `batch.first` and `batch.of`, so that computing a batch in parts changes nothing. On the CPU.
    virtual DrawnTimes draw(const Batch& batch, const Process& process, const Random& random) const = 0;
};

}  // namespace dtk
