#pragma once
// Data whose numbers are categories, such as tokens: draws of categories, the processes of them, and laws of finitely
// many vectors.
#include <cstdint>
#include <optional>
#include <vector>

#include <dtk/dataset.hpp>
#include <dtk/process.hpp>

namespace dtk {

/// One category for each row of weights, by inverse CDF: the first whose cumulative weight exceeds u times the whole,
/// so never one of weight 0. Float64, as a float32 u or Gumbel noise loses rare categories (Zheng et al., "Masked
/// Diffusion Models are Secretly Time-Agnostic Masked Models", 2024, section 5). weights: [..., K] ≥ 0, which need not
/// sum to 1, u: [...] in [0, 1), both float64 → [...] int64; K − 1 where all weights are 0.
DTK_API Tensor category_at(const Tensor& weights, const Tensor& u);

/// A process of categories: each keeps that of x_0 with probability ᾱ_t, and is a draw from π otherwise. The state is
/// as the data, which come in K levels: level k is category k, and a masked element has the value that level K would
/// have. A prediction is `logits` of x_0, one for each category as a further last dimension: [B, ..., K] for x_t
/// [B, ...].
class DTK_API CategoricalProcess : public Process {
 public:
    ~CategoricalProcess() override;
    virtual std::int64_t categories() const = 0;  ///< K
    virtual bool masks() const = 0;               ///< is π all on one further category, the mask?
    /// What an element may be: the categories, and the mask where there is one.
    std::int64_t states() const { return categories() + (masks() ? 1 : 0); }
    /// The category of each element, K where it is masked. → as x, int64
    virtual Tensor numbers(const Tensor& x) const = 0;
    /// The elements of those categories. numbers: [B, ...] int64 → the same, of that dtype
    virtual Tensor values(const Tensor& numbers, at::ScalarType type) const = 0;
    /// log q(x_t = k | x_0 = k) − log q(x_t = k | x_0 = j), j ≠ k: what an element that is not masked says of x_0; ∞
    /// where elements change by being masked alone.
    virtual Coefficient evidence(const Time& t) const = 0;
    /// log P(x_0 | x_t) as the prediction has it; where elements change by being masked alone, one that is not masked
    /// is certain. → [B, ..., K] float64
    virtual Tensor log_clean(const Prediction& prediction, const Tensor& xt) const = 0;
    /// Of the negative bound in infinitely many steps what it gains for each unit of u = (t+1)/T, given x_t:
    /// −log p(x_0) ≤ prior_term + E ∫ bound_rate du, in nats per example [B].
    virtual Tensor bound_rate(const Tensor& x0, const Tensor& xt, const Time& t,
                              const Prediction& prediction) const = 0;
};

/// The process as one of categories. Errors: Error that says that `who` needs one.
DTK_API const CategoricalProcess& categorical(const Process& process, const char* who);

/// A law of finitely many vectors.
class DTK_API FiniteDensity : public Density {
 public:
    /// atoms: [N, d] float64, no two alike. Without weights one is as likely as another. Errors: Error where a weight
    /// is not positive.
    explicit FiniteDensity(Tensor atoms, std::vector<double> weights = {});
    ~FiniteDensity() override;
    const Tensor& atoms() const { return atoms_; }              ///< [N, d]
    const Tensor& log_weights() const { return log_weights_; }  ///< [N], of weights that sum to 1

    Tensor log_prob(const Tensor& x) const override;
    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override;
    double entropy() const override;
    double log_prob_sd() const override;
    std::vector<double> mode_weights() const override { return weights_; }
    Tensor nearest_mode(const Tensor& x) const override;

 private:
    Tensor atoms_, log_weights_;
    std::vector<double> weights_;
};

}  // namespace dtk
