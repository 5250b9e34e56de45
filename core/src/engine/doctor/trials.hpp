#pragma once
// Cures that are tried: training gone on with, or begun again, in memory, with other settings.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/doctor/examined.hpp"
#include "engine/trainer.hpp"

namespace dtk::doctor {

struct Trial {
    std::vector<std::string> set = {};  ///< KEY=VALUE; the learning rate stays constant, without warm-up
    bool afresh = false;                ///< from the beginning, or from the newest checkpoint?
    std::int64_t steps = 0;             ///< how many
    bool as_it_was = false;             ///< under the run's own law of the learning rate, step by step what the run did
    /// Looks at what has been trained, at the end.
    std::function<void(Stage&, Trainer&)> at_the_end = {};
};

/// What came of a trial.
struct Tried {
    Trial trial = {};
    double score = INFINITY;               ///< score_of the parameters themselves on held-out examples
    std::optional<std::int64_t> bad_step;  ///< the first with a loss or a gradient that is not finite, from 1
    std::vector<double> loss, norm;        ///< of each step, where `each` was asked for
};

/// Steps of training that take about so many seconds, from 1 to `most`.
std::int64_t steps_in(Examined& run, double seconds, std::int64_t most);

/// Errors: NotLooked where the run does not train.
Tried tried(Examined& run, Trial trial, bool each = false);

}  // namespace dtk::doctor
