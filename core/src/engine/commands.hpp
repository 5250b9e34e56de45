#pragma once
// The commands that train and sample.
#include "base/engine.hpp"

namespace dtk {

// Each prints and returns the exit code.
int run_experiment(const RunRequest& request);
int replay_run(const RunRequest& request);
int sample_run(const SampleRequest& request);

}  // namespace dtk
