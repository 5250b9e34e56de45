#pragma once
// What an experiment says that comes out of it.
#include "base/experiment.hpp"

namespace dtk {

/// `[expect]`, or one of several: what a metric is claimed to be.
struct Expectation {
    std::string metric;  ///< its name; of several stages with the stage's before it, "student.nll"
    double value = 0;
    double within = 0;   ///< how far it may be off, in the metric's unit
    std::string source;  ///< who claims it
};

/// What an experiment claims. What is wrong with it goes into `mistakes`.
DTK_API std::vector<Expectation> read_expectations(const Experiment& experiment, Diagnostics& mistakes);

}  // namespace dtk
