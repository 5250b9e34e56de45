#pragma once
// The commands that train, sample, and look at data and runs.
#include "base/engine.hpp"

namespace dtk {

// Each prints and returns the exit code.
int run_experiment(const RunRequest& request);
int replay_run(const RunRequest& request);
int sample_run(const SampleRequest& request);
int make_averages(const AverageRequest& request);
int show_data(const DataRequest& request);
int import_data(const ImportRequest& request);
int diagnose_run(const DiagnoseRequest& request);
int compare_objectives(const EquivalenceRequest& request);

WeighedNoise weighed_noise(const std::string& experiment, const Overrides& overrides);

}  // namespace dtk
