#pragma once
// From what the data say of an example to what the network is told: classes, captions, pictures as vectors and tokens.
#include <memory>
#include <string>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/prediction.hpp>

#define DTK_Conditioner_VERSION 2_0

namespace dtk {

/// Several work one after the other. Its parameters are trained with the network.
class DTK_API Conditioner : public Module {
 public:
    static constexpr const char* kind = "conditioner";
    ~Conditioner() override;
    /// What there is to be told once it has worked; before, that is context.condition_space().
    virtual ConditionSpace makes(ConditionSpace told) const = 0;
    /// Rows that are not `given` get what stands for nothing.
    virtual Condition operator()(Condition condition) const = 0;
    /// Was it built for rows that are told nothing, too?
    virtual bool knows_null_condition() const { return false; }
    /// The share of the examples of training that it is told nothing of, beside [train] drop_condition.
    virtual double drops() const { return 0; }
};

/// What the network is told. In training each conditioner is told nothing of as many rows as it drops.
DTK_API Condition conditioned(const std::vector<NamedConditioner>& conditioners, Condition condition,
                              std::int64_t rows);

}  // namespace dtk
