#pragma once
#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/prediction.hpp>
#include <dtk/view.hpp>

#define DTK_Model_VERSION 1

namespace dtk {

/// Given x_t, t and a context, what is predicted? Initial values come from `view.random("init")`, dropout from
/// `context.random`, so that a seed means something.
class DTK_API Model : public Module {
 public:
    static constexpr const char* kind = "model";
    ~Model() override;
    virtual Predicts predicts() const = 0;
    /// x: [B, ...] float, t: [B] real in 0 … T−1 → the prediction, shaped as x.
    virtual Prediction forward(const Tensor& x, const Tensor& t, const Context& context) = 0;
    /// Does it want context.self_condition? The runtime then feeds its own earlier x̂_0 back (Chen et al. 2022).
    virtual bool self_conditions() const { return false; }
};

}  // namespace dtk
