#pragma once
// A process in another direction of space, the noise of its steps turned as well: samples of networks that turn with
// the chain are then turned through a whole trajectory.
#include "support.hpp"

namespace support {

using at::Tensor;
using dtk::PredictionType;

/// Points [..., 3], or frames [..., 3, 4], turned by Q.
inline Tensor turned(const Tensor& x, const Tensor& Q) {
    return x.size(-1) == 4 ? Q.matmul(x) : x.matmul(Q.transpose(0, 1));
}

/// Moves the network, of that dtype now, from where it begins: what is zero there would hide what follows it.
inline void leave_start(dtk::Model& network, at::ScalarType type, const dtk::Random& stream) {
    network.train(false);
    at::NoGradGuard no_grad;
    for (const auto& named : network.named_tensors())
        if (named.trained)
            *named.tensor =
                named.tensor->to(type) + 0.1 * stream.stream(named.name).normal(named.tensor->sizes(), type);
}

/// The process of everything turned by Q, the noise of its steps too.
class Turned final : public dtk::Process {
 public:
    Turned(std::shared_ptr<dtk::Process> of, Tensor Q) : of_(std::move(of)), Q_(std::move(Q)) {}
    std::int64_t steps() const override { return of_->steps(); }
    const dtk::NoiseLevels& levels() const override { return of_->levels(); }
    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double t) const override {
        return turned(of_->prior(sizes, options, random, t), Q_);
    }
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return of_->noise(sizes, options, random);
    }
    Tensor mix(const Tensor& x0, const Tensor& noise, const dtk::Time& t) const override {
        return of_->mix(x0, noise, t);
    }
    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt,
                  const dtk::Time& t) const override {
        return of_->target(type, x0, xt, t);
    }
    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const dtk::Time& t) const override {
        return of_->convert(prediction, to, xt, t);
    }
    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const dtk::Time& t, const dtk::Time& s,
                        const std::string& variance, const dtk::Random& random) const override {
        const dtk::Prediction back{prediction.type, turned(prediction.value, Q_.t()), {}};
        return turned(of_->reverse_step(turned(xt, Q_.t()), back, t, s, variance, random), Q_);
    }
    Tensor bound_term(const Tensor& x0, const Tensor& xt, const dtk::Time& t, const dtk::Time& s,
                      const dtk::Prediction& prediction, const std::string& variance) const override {
        return of_->bound_term(x0, xt, t, s, prediction, variance);
    }
    Tensor prior_term(const Tensor& x0) const override { return of_->prior_term(x0); }
    std::vector<std::string> variances() const override { return of_->variances(); }
    void accept(PredictionType type) const override { of_->accept(type); }

 private:
    std::shared_ptr<dtk::Process> of_;
    Tensor Q_;
};

}  // namespace support
