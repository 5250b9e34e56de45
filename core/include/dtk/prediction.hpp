#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <dtk/error.hpp>
#include <dtk/random.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// What a network's answer is. `label` is a classifier's: log-odds of the classes, [B, classes], which say nothing of
/// x_0.
enum class Predicts { eps, x0, v, score, mean, velocity, edm, logits, frames, label };

/// The word for it in experiment files, and back. Errors: Error for an unknown word.
DTK_API std::string_view name_of(Predicts kind);
DTK_API Predicts predicts(std::string_view name);

/// A network's answer with its meaning; a process converts it.
struct Prediction {
    Predicts kind = Predicts::eps;
    Tensor value;                    ///< [B, ...], shaped as x_t
    std::optional<Tensor> variance;  ///< of p(x_s | x_t), where the network learns it: broadcasts over value
};

/// What stands beside x_t: conditions, masks, the previous estimate. Undefined tensors are absent.
struct Context {
    Tensor label = {};           ///< [B] int64 classes
    Tensor mask = {};            ///< [B, ...] of 0 and 1: which elements of the state exist
    Tensor self_condition = {};  ///< [B, ...] x̂_0 of an earlier evaluation; zero in the first one
    Tensor tokens = {};          ///< [B, L] int64 or [B, L, C]
    std::map<std::string, Tensor> extra = {};
    const Random* random = nullptr;  ///< the numbers of this step, for dropout; absent outside training
};

/// Losses and samplers see this, not a network: a model, its average, guidance, a formula. x: [B, ...], t: [B] → as x.
using Predict = std::function<Prediction(const Tensor& x, const Tensor& t, const Context& context)>;

}  // namespace dtk
