#pragma once
// A run of a second that tests of run folders stop, damage and go on with.
#include <string>

inline const std::string small_experiment = R"(name = "small"
seed = 5
threads = 1
[dataset]
use = "gaussian_mixture"
[process]
steps = 20
[schedule]
use = "cosine"
[model]
use = "mlp"
width = 8
depth = 1
[train]
steps = 30
batch = 8
log_every = 10
checkpoint_every = 10
[sampler]
use = "ddim"
steps = 3
[sample]
n = 20
)";
