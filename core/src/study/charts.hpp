#pragma once
#include "study/page.hpp"
#include "study/report.hpp"

namespace dtk {

/// What the charts of a report draw from: arms that differ in sampler.steps alone have one colour, and so do arms that
/// share a training.
struct Drawn {
    const Study& study;
    const Findings& findings;
    std::filesystem::path folder;
    bool accept_rebuilt;
    std::vector<Group> lines = groups_by_steps(study), trainings = groups_by_training(study);
};

/// Where the seeds of every arm lie, with the means and their intervals.
page::Figure seeds_figure(const Drawn& drawn, const std::string& metric);

/// Distance against evaluations for arms that differ in steps alone, on logarithmic axes, with a table of slopes; empty
/// where no two arms do.
std::string convergence_html(const Drawn& drawn, const std::string& metric);

/// Distance against a cost of each arm, with the Pareto front. `what` is the cost in words.
page::Figure cost_figure(const Drawn& drawn, const std::string& metric, const std::vector<double>& cost,
                         const std::string& what);

/// Loss against steps, and against log-SNR; empty where nothing was trained.
std::string training_html(const Drawn& drawn);

/// The noise levels of every process drawn over each other, and the weight that training gives each; empty where none
/// is known.
std::string schedules_html(const Drawn& drawn);

}  // namespace dtk
