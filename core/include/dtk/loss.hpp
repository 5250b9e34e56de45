#pragma once
#include <string>
#include <utility>
#include <vector>

#include <dtk/dataset.hpp>
#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>
#include <dtk/times.hpp>
#include <dtk/view.hpp>

#define DTK_Loss_VERSION 1

namespace dtk {

/// A loss per example; the core averages, so that loss by noise level, accumulation and data parallelism come for free.
struct LossValues {
    Tensor value;  ///< [B], differentiable
    Tensor t;      ///< [B] the times they were drawn at
    /// Further values per example that are logged, not minimised.
    std::vector<std::pair<std::string, Tensor>> parts = {};
};

class DTK_API Loss : public Module {
 public:
    static constexpr const char* kind = "loss";
    ~Loss() override;
    /// batch.x: [B, ...] → values. All that is drawn comes from `random`, whose row i belongs to example i.
    virtual LossValues operator()(const Predict& predict, const Process& process, const Batch& batch,
                                  const Random& random) const = 0;
};

}  // namespace dtk
