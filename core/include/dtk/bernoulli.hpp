#pragma once
#include <dtk/process.hpp>

namespace dtk {

/// A process of bits: each keeps that of x_0 with probability ᾱ_t and is drawn anew otherwise,
/// q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) π. The state is a float tensor of 0 and 1.
class DTK_API BernoulliProcess : public Process {
 public:
    ~BernoulliProcess() override;
    virtual double rate() const = 0;  ///< π, how often a bit of the prior is 1
    /// log q(x_t | x_0 = 1) − log q(x_t | x_0 = 0), what each bit says of its own x_0. t: [B] → as xt
    virtual Tensor evidence(const Tensor& xt, const Time& t) const = 0;
};

/// The process as one of bits. Errors: Error that says that `who` needs one.
DTK_API const BernoulliProcess& bernoulli(const Process& process, const char* who);

}  // namespace dtk
