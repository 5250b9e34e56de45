// x̂_0 = 1 + (the estimate it is shown): after N steps of a sampler that feeds estimates back, x̂_0 = N. In training it
// counts how many rows were shown one.
#include <ATen/core/grad_mode.h>

#include <dtk/model.hpp>

namespace {
struct Counting final : dtk::Model {
    Counting()
        : nothing_(parameter("nothing", at::zeros({}))),
          rows_(buffer("rows", at::zeros({}))),
          shown_(buffer("shown", at::zeros({}))) {}
    dtk::PredictionType predicts() const override { return dtk::PredictionType::x0; }
    bool self_conditions() const override { return true; }

    dtk::Prediction forward(const at::Tensor& x, const dtk::Time&, const dtk::Condition& condition) override {
        if (training() && at::GradMode::is_enabled()) {
            rows_.add_(x.size(0));
            shown_.add_((condition.self_condition != 0).flatten(1).any(1).sum());
        }
        return {dtk::PredictionType::x0, condition.self_condition + 1 + 0 * nothing_, {}};
    }

    at::Tensor &nothing_, &rows_, &shown_;
};
}  // namespace

DTK_PLUGIN(Model, counting, Counting, "counts how often an estimate was fed back")
