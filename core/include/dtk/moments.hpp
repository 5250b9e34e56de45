#pragma once
// What optimisers share that keep running means of gradients.
#include <dtk/optimizer.hpp>

namespace dtk {

/// Named state of an optimiser: so many tensors beside each parameter, shaped as it, and the number of steps made.
class DTK_API Moments {
 public:
    /// names: of the tensors beside each parameter, "mean", "square".
    void begin(const Parameters& parameters, std::vector<std::string> names);
    std::vector<Tensor>& operator[](std::size_t i) { return tensors_[i]; }
    std::vector<Tensor>& steps() { return steps_; }
    NamedTensors state() const;
    /// Errors: Error naming what is missing.
    void restore(const NamedTensors& state);

 private:
    std::vector<std::string> names_, parameters_;
    std::vector<std::vector<Tensor>> tensors_;
    std::vector<Tensor> steps_;  ///< a float32 scalar for each parameter, as LibTorch's fused kernels want it
};

/// The gradients of the tensors, zeros where there is none.
DTK_API std::vector<Tensor> gradients(const std::vector<Tensor>& tensors);

/// Those of a list whose place is marked (or not).
DTK_API std::vector<Tensor> marked(const std::vector<Tensor>& all, const std::vector<bool>& marks, bool value);

}  // namespace dtk
