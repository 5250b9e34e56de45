#pragma once
// The charts of a report.
#include "study/convergence.hpp"
#include "study/html.hpp"

namespace dtk {

/// What the charts of a report draw from: arms that differ in sampler.steps alone have one colour, and so do arms that
/// share a training.
struct Drawn {
    const Study& study;
    const StudyResults& results;
    std::filesystem::path folder;
    bool accept_rebuilt;
    page::Pictures& pictures;
    std::vector<Group> lines = groups_by_steps(study), trainings = groups_by_training(study);
};

/// Every comparison with its simultaneous interval.
page::Figure comparisons_figure(const Drawn& drawn, const std::string& metric);

/// Where the seeds of every arm lie, those of one seed joined, with the means and their intervals.
page::Figure seeds_figure(const Drawn& drawn, const std::string& metric);

/// The least difference that so many seeds find 8 times in 10, against the seeds, going by the spread of the paired
/// differences; without series where none scatters.
page::Figure power_figure(const Drawn& drawn, const std::string& metric);

/// The standard deviations over trainings, by random stream where those were varied one at a time, and over draws, of
/// the baseline; without rows where the study does not tell them.
page::Figure scatter_figure(const Drawn& drawn, const std::string& metric);

/// A metric against evaluations for arms that differ in steps alone, on logarithmic axes, with a table of slopes; empty
/// where no two arms do.
std::string convergence_html(const Drawn& drawn, const std::string& metric);

/// A metric against a cost of each arm, with the Pareto front. `what` is the cost in words.
page::Figure cost_figure(const Drawn& drawn, const std::string& metric, const std::vector<double>& cost,
                         const std::string& what);

/// Loss and held-out error against steps, and against log-SNR; empty where nothing was trained.
std::string training_html(const Drawn& drawn);

/// The noise levels of every process drawn over each other, and the weight that training gives each; empty where none
/// is known.
std::string schedules_html(const Drawn& drawn);

}  // namespace dtk
