#pragma once
// Everything that `dtk doctor` looks for; each function looks for one kind of fault. Errors: NotLooked with the reason.
#include "engine/doctor/examined.hpp"

namespace dtk::doctor {

// data.cpp
Findings data_not_finite(Examined& run);
Findings data_outliers(Examined& run);
Findings data_constant(Examined& run);
Findings data_copies(Examined& run);
Findings data_scale(Examined& run);
Findings data_range(Examined& run);
Findings data_classes(Examined& run);

// process.cpp
Findings signal_at_the_start(Examined& run);
Findings noise_at_the_end(Examined& run);

// finite.cpp
Findings weights_not_finite(Examined& run);
Findings training_not_finite(Examined& run);

// training.cpp
Findings training_cures(Examined& run);
Findings clipped_steps(Examined& run);
Findings training_log(Examined& run);
Findings overfitting(Examined& run);

// network.cpp
Findings unmoved_parameters(Examined& run);
Findings ignored_class(Examined& run);
Findings low_precision(Examined& run);

// averages.cpp
Findings stale_average(Examined& run);

// sampling.cpp
Findings sampling_cures(Examined& run);
Findings samples_not_finite(Examined& run);
Findings samples_drift(Examined& run);
Findings clipped_estimates(Examined& run);

// fit.cpp
Findings network_fit(Examined& run);

}  // namespace dtk::doctor
