#pragma once
// What training does to all tensors at once, number by number, on the CPU: one loop over their memory, where LibTorch's
// operations would be many and small.
#include <functional>
#include <optional>
#include <vector>

#include <dtk/tensor.hpp>

namespace dtk {

/// Lists of tensors whose i-th are laid out alike, as stretches of memory.
class DTK_API Blocks {
 public:
    /// Nothing where they are not all on the CPU, dense, and of one type that is float32 or float64.
    static std::optional<Blocks> of(std::initializer_list<const std::vector<Tensor>*> lists);
    at::ScalarType type() const { return type_; }
    /// Some numbers that lie side by side in the i-th tensor of each list.
    struct Stretch {
        std::int64_t number;  ///< of all stretches
        std::size_t i;
        std::int64_t from, n;
    };
    std::int64_t stretches() const { return starts_.back(); }
    /// Calls work for all stretches, side by side on LibTorch's threads where they are many.
    void each(const std::function<void(const Stretch&)>& work) const;
    /// Where a stretch of a list begins.
    template <class T>
    T* at(std::size_t list, const Stretch& stretch) const {
        return static_cast<T*>(data_[list][stretch.i]) + stretch.from;
    }
    /// Says of a list that it was written into.
    static void written(const std::vector<Tensor>& list);

 private:
    at::ScalarType type_ = at::kFloat;
    std::vector<std::vector<void*>> data_;
    std::vector<std::int64_t> sizes_,
        starts_;  ///< of tensor i: its numbers, and its first stretch; one more at the end
};

/// The step of Adam's kind that is made, from 1 on, and by what: θ ← θ − rate·(m̂/(√v̂ + ε) + λ θ), or with λ θ in g.
struct AdamStep {
    double rate, beta1, beta2, eps, made;
    bool decays_weights;
};

/// λ: of each tensor. Lists: θ, g, m, v.
DTK_API void adam(const Blocks& blocks, const std::vector<double>& lambda, const AdamStep& step);

/// x ← x + share·(y − x). Lists: x, y.
DTK_API void approach(const Blocks& blocks, double share);

/// Σ x² over all of a list.
DTK_API double squares(const Blocks& blocks);

/// x ← factor·x
DTK_API void scale(const Blocks& blocks, double factor);

}  // namespace dtk
