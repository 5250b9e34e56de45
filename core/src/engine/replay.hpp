#pragma once
// One training step looked at without being made: what it computes of every example and every module, and where the
// first number that is not finite comes from.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/trainer.hpp"

namespace dtk {

/// The first tensor of a step that holds a number that is not finite.
struct NotFinite {
    std::string what;                ///< "addmm in model.hidden0", "parameter model.out.weight", "the examples"
    std::string module;              ///< the path of the module it came from; empty where that is none
    std::vector<std::int64_t> rows;  ///< of the batch that hold one; empty where it is not one row for each example
};

/// What a step computed of one example of its batch.
struct StepExample {
    std::int64_t number;  ///< in the data set
    double t;
    double error, loss;  ///< before and after weighting
};

struct InspectedStep {
    std::int64_t step;  ///< from 1
    double rate;
    NamedNumbers means;                  ///< "train/loss", its parts, "train/grad_norm", as metrics.jsonl has them
    std::vector<double> error_by_noise;  ///< the mean in each tenth of the times, from the least noisy
    NamedNumbers gradient_norms;         ///< by the path of the module, in the order of the network
    std::optional<NotFinite> first_bad;
    std::vector<StepExample> examples;  ///< in the order of the batch
};

/// The step that comes next. Neither the parameters nor the trainer's count change.
DTK_API InspectedStep inspect_next_step(Stage& stage, Trainer& trainer);

}  // namespace dtk
