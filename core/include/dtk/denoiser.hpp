#pragma once
// A denoiser: a network under a process, with its condition. Losses, samplers, metrics and guidance see this, not a
// network.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <dtk/prediction.hpp>
#include <dtk/process.hpp>

namespace dtk {

class NoiseLevels;

/// A value: copies are cheap and share the network. x: [B, ...], t: one time or one for each row.
class DTK_API Denoiser {
 public:
    /// Whatever answers: a network, its average, a formula in a test, guidance around another denoiser.
    using Ask = std::function<Prediction(const Tensor& x, const Time& t, const Condition& condition)>;
    /// Moves the mean of a reverse step t → s, N(mean, variance), and answers the new mean.
    using Shift = std::function<Tensor(const Tensor& x, const Normal& step, const Time& t, const Time& s,
                                       const Condition& condition)>;

    Denoiser(std::shared_ptr<const Process> process, Ask ask, Condition condition = {});

    Prediction operator()(const Tensor& x, const Time& t) const { return (*this)(x, t, condition_); }
    Prediction operator()(const Tensor& x, const Time& t, const Condition& condition) const;

    /// One evaluation each, answered in that meaning. → as x
    Tensor x0(const Tensor& x, const Time& t) const { return in(PredictionType::x0, x, t); }
    Tensor eps(const Tensor& x, const Time& t) const { return in(PredictionType::eps, x, t); }
    Tensor v(const Tensor& x, const Time& t) const { return in(PredictionType::v, x, t); }
    Tensor score(const Tensor& x, const Time& t) const { return in(PredictionType::score, x, t); }
    Tensor velocity(const Tensor& x, const Time& t) const { return in(PredictionType::velocity, x, t); }
    Tensor in(PredictionType type, const Tensor& x, const Time& t) const;
    /// Both from one evaluation.
    struct Estimate {
        Tensor x0, eps;
    };
    Estimate estimate(const Tensor& x, const Time& t) const;

    /// x_s ~ p(x_s | x_t), a reverse step of the process, its mean moved where guidance moves it. `variance`: one of
    /// the process's variances().
    Tensor reverse_step(const Tensor& x, const Time& t, const Time& s, const std::string& variance,
                        const Random& random) const;
    /// What a Gaussian process draws that from.
    Normal reverse(const Tensor& x, const Time& t, const Time& s, const std::string& variance) const;

    const Process& process() const { return *process_; }
    const std::shared_ptr<const Process>& process_ptr() const { return process_; }
    /// Errors: Error where the process is not Gaussian; samplers that need one say so when they are built.
    const GaussianProcess& gaussian() const;
    const NoiseLevels& noise() const { return process_->levels(); }
    const Condition& condition() const { return condition_; }

    /// The same network told something else.
    Denoiser with(Condition condition) const;
    /// Another answer under the same process and condition: what guidance makes.
    Denoiser replaced(Ask ask) const;
    /// Moves the mean of reverse steps too, after what moves it already.
    Denoiser shifted(Shift shift) const;
    bool shifts() const { return !shifts_.empty(); }

    /// A new trajectory, whose steps see the x̂_0 of the step before: what self-conditioning remembers. The estimate of
    /// a step counts when `advance` ends it, so that evaluations within a step do not feed one another. Without a
    /// trajectory every evaluation is a first one. Without `estimates` only guidance remembers.
    Denoiser begin(bool estimates = true) const;
    void advance() const;
    /// x̂_0 of the latest evaluation in this trajectory; undefined before one, or without estimates.
    Tensor latest_x0() const;

 private:
    struct Memory {
        bool estimates;
        Trajectory trajectory;
    };
    std::shared_ptr<const Process> process_;
    std::shared_ptr<const Ask> ask_;
    Condition condition_;
    std::vector<Shift> shifts_;
    std::shared_ptr<Memory> memory_;
};

}  // namespace dtk
