#pragma once
// The metrics of stages: what each says, printed and as a record.
#include <nlohmann/json.hpp>

#include "base/progress.hpp"
#include "engine/stage.hpp"

namespace dtk {

/// What every metric says, each with its card. `drawn`: what the run's result says of the samples.
nlohmann::json measure(const Stage& stage, const Tensor& samples, const Tensor& start, const nlohmann::json& drawn,
                       at::Device device, Progress::Mode progress);

/// What the stages of one file measured alike, side by side, printed: the same metrics, and what each sample cost.
/// `result`: of the run, by stage.
void say_beside(const Experiment& experiment, const nlohmann::json& result);

}  // namespace dtk
