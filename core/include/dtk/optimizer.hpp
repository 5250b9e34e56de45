#pragma once
// How do gradients move the parameters? Optimisers, learning-rate laws and averages of the parameters.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dtk/module.hpp>
#include <dtk/plugin.hpp>

#define DTK_Optimizer_VERSION 2_0
#define DTK_Average_VERSION 3_0

namespace dtk {

/// The trained tensors by name and by what they are, so that what belongs to matrices is not done to biases.
struct Parameters {
    std::vector<std::string> names;
    std::vector<Tensor> tensors;
    /// A weight of two dimensions or more, which decays; biases, norms and scalars do not.
    std::vector<bool> decays;
};

/// State by name, as a checkpoint keeps it: "mean.model.out.weight".
using NamedTensors = std::map<std::string, Tensor>;

/// Owns its state for the tensors it was begun with.
class DTK_API Optimizer {
 public:
    static constexpr const char* kind = "optimizer";
    virtual ~Optimizer();
    virtual void begin(const Parameters& parameters) = 0;
    /// One step by the tensors' gradients. rate: scalar float32 on the device; skip: 1 where this step's update must
    /// not be made, else 0, a scalar float32 on the device. Reads nothing back.
    virtual void step(const Tensor& rate, const Tensor& skip) = 0;
    virtual NamedTensors state() const = 0;
    /// Errors: Error naming what is missing.
    virtual void restore(const NamedTensors& state) = 0;
};

/// A running average of the parameters, which samples are drawn with.
class DTK_API Average {
 public:
    static constexpr const char* kind = "average";
    virtual ~Average();
    /// What the average keeps after step `step` (from 0) of the old value: average ← keep·average + (1 −
    /// keep)·parameter.
    virtual double keep(std::int64_t step) const = 0;
    /// γ, where it is ∝ ∫ t^γ θ(t) dt over the steps so far (dtk/power_average.hpp): `dtk ema` then makes averages of
    /// other widths from what is kept of it while training goes on.
    virtual std::optional<double> power() const { return std::nullopt; }
};

}  // namespace dtk
