#pragma once
// What optimisers share that keep running means of gradients.
#include <dtk/optimizer.hpp>

namespace dtk {

/// Named state of an optimiser: so many tensors beside each parameter, shaped as it, and where it is asked for the
/// number of steps made.
class DTK_API Moments {
 public:
    /// names: of the tensors beside each parameter, "mean", "square". counted: is there a number of steps, too?
    void begin(const Parameters& parameters, std::vector<std::string> names, bool counted = false);
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

/// Adam's running means of some parameters and its step: on the CPU one pass over their memory, elsewhere LibTorch's
/// fused kernels.
class DTK_API AdamMoments {
 public:
    struct Fields {
        double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
    };
    enum class Decay { of_gradient, of_weights };  ///< λθ joins the gradient (Adam), or lr·λθ the step (AdamW)

    void begin(const Parameters& parameters);
    void step(const Tensor& rate, const Tensor& skip, const Fields& fields, Decay decay);
    NamedTensors state() const { return moments_.state(); }
    void restore(const NamedTensors& state) { moments_.restore(state); }

 private:
    /// Is it made so? Not where memory is elsewhere, or laid out otherwise.
    bool step_in_blocks(const std::vector<Tensor>& g, const Tensor& rate, const Tensor& skip, const Fields& fields,
                        Decay decay);

    Parameters parameters_;
    Moments moments_;
};

/// θ ← θ − rate·(Δ + λ θ), λ of the tensors that decay, 0 of the others; where skip is 1 nothing is touched, whatever
/// is in Δ. LibTorch's fused kernel.
DTK_API void descend(const Parameters& parameters, const std::vector<Tensor>& delta, const Tensor& rate, double decay,
                     const Tensor& skip);

/// mean ← β·mean + (1 − β)·value, in the same way.
DTK_API void average(const std::vector<Tensor>& mean, const std::vector<Tensor>& value, double beta,
                     const Tensor& skip);

/// The gradients of the tensors, zeros where there is none.
DTK_API std::vector<Tensor> gradients(const std::vector<Tensor>& tensors);

/// Those of a list whose place is marked (or not).
DTK_API std::vector<Tensor> marked(const std::vector<Tensor>& all, const std::vector<bool>& marks, bool value);
DTK_API Parameters marked(const Parameters& all, const std::vector<bool>& marks, bool value);

}  // namespace dtk
