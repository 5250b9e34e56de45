#pragma once
// What is the Markov kernel? Forward process, reverse steps, bound, and what a prediction means.
#include <string>
#include <vector>

#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/prediction.hpp>

#define DTK_Process_VERSION 4_0

namespace dtk {

class NoiseLevels;

/// x_t and the variate it was mixed from (ε for Gaussian noise).
struct NoisySample {
    Tensor x;      ///< [B, ...]
    Tensor noise;  ///< as Process::noise made it
};

/// A normal law with independent elements.
struct Normal {
    Tensor mean;      ///< [B, ...]
    Tensor variance;  ///< broadcasts over mean
};

/// Times are real, t in 0 … T−1, and s an earlier one, −1 before the first step (no noise). A process gives its answers
/// in the dtype and on the device of x; coefficients are float64 and cast last.
class DTK_API Process : public Module {
 public:
    static constexpr const char* kind = "process";
    ~Process() override;

    virtual std::int64_t steps() const = 0;  ///< T
    /// Does it know its T steps alone, and nothing between them? Grids and samplers are then held to whole times.
    virtual bool whole_steps() const { return true; }
    virtual const NoiseLevels& levels() const = 0;  ///< how noisy each time is; of a learned schedule, as it is now
    /// What sampling starts from at time t, T−1 unless a grid begins earlier. → sizes [B, ...]
    virtual Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random,
                         double t) const = 0;
    /// The variates that `mix` takes for examples of those sizes; their law does not depend on x_0 or t.
    virtual Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random) const = 0;
    /// x_t of x_0 and that noise: x_t ~ q(x_t | x_0) where the noise was drawn by `noise`.
    virtual Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const = 0;
    /// x_t ~ q(x_t | x_0).
    NoisySample noised(const Tensor& x0, const Time& t, const Random& random) const;
    /// What a perfect network of that type would have been told about this draw. → as x_0
    virtual Tensor target(PredictionType type, const Tensor& x0, const NoisySample& xt, const Time& t) const = 0;
    /// The same knowledge in another type. Errors: Error for a type the process has no meaning for.
    virtual Tensor convert(const Prediction& prediction, PredictionType to, const Tensor& xt, const Time& t) const = 0;
    /// One ancestral step x_s ~ p(x_s | x_t), t → s (Ho et al. 2020, algorithm 2). `variance` is one of variances().
    /// Without noise where s = −1.
    virtual Tensor reverse_step(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                                const std::string& variance, const Random& random) const = 0;
    /// The term of the negative bound between t and s, in nats per example [B], given x_t: for s ≥ 0 the KL divergence
    /// of q(x_s | x_t, x_0) from the model's step, for s = −1 the reconstruction −log p(x_0 | x_t). Draws nothing.
    virtual Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                              const Prediction& prediction, const std::string& variance) const = 0;
    /// KL(q(x_T | x_0) ‖ prior) in nats per example [B].
    virtual Tensor prior_term(const Tensor& x0) const = 0;
    /// The reverse variances it offers, its own first.
    virtual std::vector<std::string> variances() const = 0;
    /// Refuses a type of prediction that this process cannot use. Errors: Error with the cure.
    virtual void accept(PredictionType type) const = 0;
    /// Refuses a word that is not one of variances(). Errors: Error that names them.
    void accept_variance(const std::string& variance) const;
};

/// A process whose x_t is α_t·x_0 + σ_t·ε: what samplers of the Gaussian family stand on.
class DTK_API GaussianProcess : public Process {
 public:
    ~GaussianProcess() override;
    virtual Coefficient alpha(const Time& t) const = 0;
    virtual Coefficient sigma(const Time& t) const = 0;
    /// p(x_s | x_t), what reverse_step draws from.
    virtual Normal reverse(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                           const std::string& variance) const = 0;
    /// q(x_t | x_s) for a later t: N(α_t/α_s x_s, σ²_{t|s} I).
    virtual Normal forward(const Tensor& xs, const Time& s, const Time& t) const = 0;
    /// Standard deviation of the data's elements, for the prediction `edm`.
    virtual double data_sd() const = 0;
};

/// The process as a Gaussian one. Errors: Error that says that `who` needs one.
DTK_API const GaussianProcess& gaussian(const Process& process, const char* who);

}  // namespace dtk
