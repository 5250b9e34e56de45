#pragma once
#include <cstdint>
#include <vector>

#include <dtk/model.hpp>

namespace dtk {

/// A model that tells classes apart: forward() answers log-odds, [B, classes]. Metrics look at examples through its
/// features.
class DTK_API Classifier : public Model {
 public:
    ~Classifier() override;
    PredictionType predicts() const final { return PredictionType::label; }
    /// Of the examples that it was made for.
    virtual std::vector<std::int64_t> shape() const = 0;
    /// What the log-odds are a linear map of. x: [B, ...] → [B, features] float32
    virtual Tensor features(const Tensor& x, const Time& t) = 0;
};

}  // namespace dtk
