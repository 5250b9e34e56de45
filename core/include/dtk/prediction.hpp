#pragma once
// What a network answers, and what it is told beside x_t and t.
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <dtk/error.hpp>
#include <dtk/random.hpp>
#include <dtk/tensor.hpp>
#include <dtk/time.hpp>

namespace dtk {

/// What a network's answer is. `velocity` is dx/du along the flow, u = (t+1)/T; `edm` is F of Karras et al. 2022, eq.
/// 7; `label` is a classifier's: log-odds of the classes, [B, classes], which say nothing of x_0.
enum class PredictionType { eps, x0, v, score, mean, velocity, edm, logits, frames, label };

/// The word for it in experiment files, and back. Errors: Error for an unknown word.
DTK_API std::string_view name_of(PredictionType type);
DTK_API PredictionType prediction_type(std::string_view name);

/// A network's answer with its meaning; a process converts it.
struct Prediction {
    PredictionType type = PredictionType::eps;
    Tensor value;                    ///< [B, ...], shaped as x_t; logits of categories [B, ..., K]
    std::optional<Tensor> variance;  ///< of p(x_s | x_t), where the network learns it: broadcasts over value
};

/// What is remembered from step to step of one trajectory, by name: written in a step, shown in the next one.
struct Trajectory {
    std::map<std::string, Tensor> now, before;
};

/// What a network is told beside x_t and t, by the data or by conditioners that make something else of it. 0: nothing
/// of the kind.
struct ConditionSpace {
    std::int64_t classes = 0;      ///< label is 0 … classes − 1
    std::int64_t vector = 0;       ///< numbers of `vector`
    std::int64_t tokens = 0;       ///< L, the most there are
    std::int64_t vocabulary = 0;   ///< tokens are numbers 0 … vocabulary − 1
    std::int64_t token_width = 0;  ///< C, where each token is a vector
};

/// What is known of an example beside x_t: its class, a text, masks. Undefined tensors are absent.
struct DTK_API Condition {
    Tensor label = {};           ///< [B] int64 classes
    Tensor tokens = {};          ///< [B, L] int64 or [B, L, C]
    Tensor token_mask = {};      ///< [B, L] of 0 and 1: which tokens exist; undefined: all
    Tensor vector = {};          ///< [B, D] what a conditioner has made of the rest
    Tensor mask = {};            ///< [B, ...] of 0 and 1: which elements of the state exist
    Tensor given = {};           ///< [B] bool: rows that are told their label and tokens; undefined: all of them
    Tensor self_condition = {};  ///< [B, ...] x̂_0 of an earlier step; zero in the first one
    Tensor observed = {};        ///< [B, m] y of what is known beforehand (dtk/observation.hpp); no network is told
    std::map<std::string, Tensor> named = {};
    const Random* random = nullptr;    ///< the numbers of this step, for dropout; absent outside training
    bool recompute = false;            ///< inner values are not to be kept for the gradient ([train] recompute)
    Trajectory* trajectory = nullptr;  ///< where guidance remembers; absent outside a trajectory

    /// All tensors on the device.
    Condition to(at::Device device) const;
    /// Rows first … first + n − 1; after the last row that row again.
    Condition chunk(std::int64_t first, std::int64_t n) const;
    /// Every row so many times, one after the other.
    Condition repeated(std::int64_t times) const;
    /// The same rows, told nothing of label and tokens: what classifier-free guidance calls the unconditional network.
    Condition null(std::int64_t batch) const;
    /// The rows of a, then those of b; both have the same tensors.
    static Condition cat(const Condition& a, std::int64_t n, const Condition& b, std::int64_t m);
    /// Is there a class or a text to be told?
    bool tells() const { return label.defined() || tokens.defined() || vector.defined() || !named.empty(); }
};

/// Rows first … first + rows − 1; after the last row that row again.
DTK_API Tensor rows_padded(const Tensor& all, std::int64_t first, std::int64_t rows);

}  // namespace dtk
