#pragma once
#include <string>
#include <vector>

#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/prediction.hpp>

#define DTK_Process_VERSION 2

namespace dtk {

class NoiseLevels;

/// x_t and the variate it was made with (ε for Gaussian noise).
struct Noised {
    Tensor x;      ///< [B, ...]
    Tensor noise;  ///< shaped as x
};

/// What is the Markov kernel? Prior, forward process, one reverse step, the terms of the bound, and what a prediction
/// means. Times are real tensors t: [B] in 0 … T−1; s is an earlier time, −1 before the first step (no noise). A
/// process gives its answers in the dtype and on the device of x; coefficients are float64 and cast last.
class DTK_API Process : public Module {
 public:
    static constexpr const char* kind = "process";
    ~Process() override;

    virtual std::int64_t steps() const = 0;         ///< T
    virtual const NoiseLevels& levels() const = 0;  ///< how noisy each step is; of a learned schedule, as it is now
    /// x_T: [B, ...] from the prior.
    virtual Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random) const = 0;
    /// x_t ~ q(x_t | x_0), at any step.
    virtual Noised noised(const Tensor& x0, const Tensor& t, const Random& random) const = 0;
    /// What a perfect network of that kind would have been told about this draw. → as x_0
    virtual Tensor target(Predicts kind, const Tensor& x0, const Noised& xt, const Tensor& t) const = 0;
    /// The same knowledge in another kind. Errors: Error for a kind the process has no meaning for.
    virtual Tensor convert(const Prediction& prediction, Predicts to, const Tensor& xt, const Tensor& t) const = 0;
    /// One ancestral step x_s ~ p(x_s | x_t), t → s (Ho et al. 2020, algorithm 2). `variance` is one of variances().
    /// Without noise where s = −1.
    virtual Tensor reverse_step(const Tensor& xt, const Prediction& prediction, const Tensor& t, const Tensor& s,
                                const std::string& variance, const Random& random) const = 0;
    /// The term of the negative bound between t and s, in nats per example [B], given x_t: for s ≥ 0 the KL divergence
    /// of q(x_s | x_t, x_0) from the model's step, for s = −1 the reconstruction −log p(x_0 | x_t). Draws nothing.
    virtual Tensor bound_term(const Tensor& x0, const Tensor& xt, const Tensor& t, const Tensor& s,
                              const Prediction& prediction, const std::string& variance) const = 0;
    /// KL(q(x_T | x_0) ‖ prior) in nats per example [B].
    virtual Tensor prior_term(const Tensor& x0) const = 0;
    /// The reverse variances it offers, its own first.
    virtual std::vector<std::string> variances() const = 0;
    /// Refuses a kind of prediction that this process cannot use. Errors: Error with the cure.
    virtual void accept(Predicts kind) const = 0;
    /// Refuses a word that is not one of variances(). Errors: Error that names them.
    void accept_variance(const std::string& variance) const;
};

/// A normal law with independent elements.
struct Normal {
    Tensor mean;      ///< [B, ...]
    Tensor variance;  ///< broadcasts over mean
};

/// A process whose x_t is α_t·x_0 + σ_t·ε: what samplers of the Gaussian family stand on.
class DTK_API GaussianProcess : public Process {
 public:
    ~GaussianProcess() override;
    /// α and σ at times t: [B], shaped [B, 1, …] to broadcast over x, in x's dtype and on its device.
    virtual Tensor alpha(const Tensor& t, const Tensor& x) const = 0;
    virtual Tensor sigma(const Tensor& t, const Tensor& x) const = 0;
    /// p(x_s | x_t), what reverse_step draws from.
    virtual Normal reverse(const Tensor& xt, const Prediction& prediction, const Tensor& t, const Tensor& s,
                           const std::string& variance) const = 0;
};

}  // namespace dtk
