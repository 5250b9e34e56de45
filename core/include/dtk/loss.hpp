#pragma once
// What is minimised: losses.
#include <string>
#include <utility>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/denoiser.hpp>
#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>

#define DTK_Loss_VERSION 4_0

namespace dtk {

/// One number per example that is minimised over some of the trained tensors.
struct Objective {
    Tensor value;             ///< [B], differentiable; the trainer averages it
    std::string trains = "";  ///< path of the tensors it trains, "model.generator"; empty: all of them
    /// The type of prediction whose squared error it is: the trainer multiplies it by λ(t) of [weighting]. Unset: it is
    /// complete as it is.
    std::optional<PredictionType> error_of = {};
};

/// Per example; the core averages, so that loss by noise level, accumulation and many processes come for free.
struct LossValues {
    std::vector<Objective> objectives;
    /// Further values per example [B] that are logged, not minimised; of the same names at every step.
    std::vector<std::pair<std::string, Tensor>> parts = {};
};

class DTK_API Loss : public Module {
 public:
    static constexpr const char* kind = "loss";
    ~Loss() override;
    /// batch.x: [B, ...] and the times that were drawn for it. All else that is drawn comes from `random`, whose row i
    /// belongs to example i. `denoise` is told the batch's condition.
    virtual LossValues operator()(const Denoiser& denoise, const Batch& batch, const Time& t,
                                  const Random& random) const = 0;
    /// Does it stand for one drawn time each? Where not (`elbo` over every step), the importance weight is 1.
    virtual bool draws_times() const { return true; }
};

}  // namespace dtk
