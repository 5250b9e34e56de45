#pragma once
// Given x_t, t and a condition, what is predicted? Networks.
#include <dtk/build_context.hpp>
#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/prediction.hpp>

#define DTK_Model_VERSION 5_0

namespace dtk {

/// Initial values come from `context.random("init")`, dropout from `condition.random`, so that a seed means something.
class DTK_API Model : public Module {
 public:
    static constexpr const char* kind = "model";
    ~Model() override;
    virtual PredictionType predicts() const = 0;
    /// x: [B, ...] float, t: one time or one for each row → the prediction, shaped as x; logits of categories have
    /// one dimension more (dtk/categories.hpp).
    virtual Prediction forward(const Tensor& x, const Time& t, const Condition& condition) = 0;
    /// Does it want condition.self_condition? The runtime then feeds its own earlier x̂_0 back (Chen et al. 2022).
    virtual bool self_conditions() const { return false; }
    /// Was it built to be asked without its condition, too?
    virtual bool knows_null_condition() const { return false; }
    /// Which parts of a condition does it look at, beside the class? That a conditioner works for nobody is a mistake.
    virtual ConditionSpace reads() const { return {}; }
    /// Does it compute inner values anew for the gradient where condition.recompute says so (dtk/recompute.hpp)?
    virtual bool recomputes() const { return false; }
};

}  // namespace dtk
