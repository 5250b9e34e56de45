#pragma once
// How a step's gradients are put together from the parts that its batch is computed in, by one process or several.
#include <vector>

#include <dtk/tensor.hpp>

#include "base/experiment.hpp"
#include "engine/processes.hpp"

namespace dtk {

/// The parts of a batch, and which of them this process computes.
struct BatchParts {
    std::int64_t rows = 0;   ///< of one part
    std::int64_t first = 0;  ///< this process's, of all
    std::int64_t count = 1;  ///< this process's
};

/// `processes`: null for one. Errors: UserError where the batch cannot be divided so.
BatchParts batch_parts(const TrainSettings& settings, const Processes* processes);

/// Of the gradients of some tensors, and of a few numbers beside them: the sum over all parts of the batch. `strict`:
/// in a tree of pairs that is the same whatever the number of processes. Otherwise as they come: gradients accumulate
/// in place, and are added over all processes at the end, as one block for each type.
class Reduction {
 public:
    Reduction(std::vector<Tensor> tensors, const TrainSettings& settings, Processes* processes);
    /// Before the first part: there are no gradients.
    void begin();
    /// After each part, whose gradients stand in the tensors. numbers: [N] float64
    void add(const Tensor& numbers);
    /// The sum of the gradients is put in the tensors. → the sum of the numbers
    Tensor finish();

 private:
    using Blocks = std::vector<Tensor>;
    /// The sum of 2^level parts.
    struct Node {
        int level;
        Blocks sum;
    };

    std::vector<Tensor> tensors_;
    bool strict_;
    Processes* processes_;
    Blocks gradients_;         ///< of one type each; the tensors' gradients lie in them. Empty: each lies by itself
    Tensor numbers_;           ///< summed so far
    std::vector<Node> nodes_;  ///< of a strict sum, levels falling
};

}  // namespace dtk
