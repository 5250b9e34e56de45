#pragma once
// What the experiments of a study need done, as tasks that are known by a hash of all they depend on.
#include <set>

#include "study/study.hpp"

namespace dtk {

/// Adds what experiments need done, each task where it is not there yet.
class Planner {
 public:
    explicit Planner(Study& study) : study_(study) {}

    /// An experiment of `first`, which is run whole.
    void add_first(const Experiment& experiment, const std::string& data);

    /// The training of an experiment of one stage.
    /// goes_on: the training that this one goes on with.
    std::string add_rung(const Experiment& experiment, const std::string& data, const std::string& goes_on);

    /// An experiment that is run whole, all of its stages. → its task
    std::string add_whole(const Experiment& experiment, const std::string& data);

    /// The last stage of a cell's experiment is what is measured; an earlier one is trained where a later one names it.
    /// → the task that measures
    /// metric: the only one that is measured; empty: all.
    std::string add_cell(const Experiment& experiment, const std::string& data, const std::string& metric = {},
                         const std::string& goes_on = {});

 private:
    std::string add_training(const Experiment& experiment, std::size_t number, const std::string& data,
                             const std::string& goes_on = {});
    /// The networks that a stage's fields name: of its experiment's earlier stages, and of `first`.
    std::map<std::string, std::string> named_in(const std::set<std::string>& references, const Experiment& experiment,
                                                std::size_t number, const std::string& data);
    std::string add(Task task, const std::string& data, std::vector<std::filesystem::path> files);

    Study& study_;
    std::map<std::string, std::string> first_;
};

}  // namespace dtk
