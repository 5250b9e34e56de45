// q(x_t = 1 | x_{t−1}) = (1 − β_t) x_{t−1} + β_t π,   q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) π,   p(x_T = 1) = π
// for every bit by itself. The posterior is Bayes' rule over the two values of x_s, for any s < t,
//     q(x_s | x_t, x_0) ∝ q(x_t | x_s) q(x_s | x_0),
// and what a network knows of x_0 makes the reverse step p(x_s | x_t) = Σ_{x_0} q(x_s | x_t, x_0) P(x_0 | x_t), which
// is the best that treats the bits of x_s as independent where P(x_0 | x_t) is right. The binomial diffusion of
// Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", 2015, appendix, table App.1,
// there for π = ½.
//
// A prediction `x0` is P(x_0 = 1 | x_t), `logits` its log-odds, `mean` is P(x_{t−1} = 1 | x_t), which the paper's
// network gives.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/bernoulli.hpp>
#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::Coefficient;
using dtk::PredictionType;
using dtk::Time;

/// The probabilities of 1 and of 0, float64. Neither is computed from the other, so that a small one keeps its digits.
struct Bit {
    Tensor one, zero;
};

Bit where(const Tensor& condition, const Bit& a, const Bit& b) {
    return {at::where(condition, a.one, b.one), at::where(condition, a.zero, b.zero)};
}

/// KL(q ‖ p), the sum over all but the first dimension → [B]
Tensor kl(const Bit& q, const Bit& p) {
    constexpr double least = 1e-300;  // ∞ has no gradient
    const auto term = [](const Tensor& a, const Tensor& b) { return at::xlogy(a, a) - a * b.clamp_min(least).log(); };
    return (term(q.one, p.one) + term(q.zero, p.zero)).flatten(1).sum(1);
}

/// q(x_s | x_t, x_0) for x_0 = 0 and for x_0 = 1.
struct Posterior {
    Bit of_zero, of_one;
    Bit mixed(const Bit& x0) const {
        return {x0.one * of_one.one + x0.zero * of_zero.one, x0.one * of_one.zero + x0.zero * of_zero.zero};
    }
};

struct Bernoulli final : dtk::BernoulliProcess {
    struct Config {
        std::int64_t steps = 1000;
        double rate = 0.5;
        dtk::Part<dtk::Schedule> schedule{"linear_alpha_bar"};
        std::string decoder = "model";
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::in(1, 1000000), "T, the steps of the Markov chain");
            f("rate", rate, dtk::inside(0, 1), "π, how often a bit of the prior is 1");
            f("schedule", schedule, "how noisy each step is");
            f("decoder", decoder, {"model", "reversed"},
              "p(x_0 | x_1): what the model says, or the forward kernel turned around, q(x_1 | x_0) π(x_0)/π(x_1), as "
              "in the paper");
        }
    };
    Bernoulli(const Config& config, const dtk::BuildContext& context)
        : levels_(config.schedule.make(context)->levels(config.steps)),
          rate_(config.rate),
          reversed_(config.decoder == "reversed") {
        const auto T = config.steps;
        for (std::int64_t t = 0; t < T; ++t)
            if (std::abs(levels_.alpha_bar(t) + levels_.sigma2(t) - 1) > 1e-6)
                throw dtk::Error(fmt::format("bits need a schedule with α² + σ² = 1, and here it is {} at step {}",
                                             levels_.alpha_bar(t) + levels_.sigma2(t), t + 1),
                                 "use a variance-preserving schedule, such as linear_alpha_bar or cosine");
        const auto size = context.chain_data().size();
        const auto first =
            context.chain_data().examples(at::arange(size > 0 ? std::min<std::int64_t>(size, 8) : 8, at::kLong)).x;
        if (!((first == 0) | (first == 1)).all().item<bool>())
            throw dtk::Error("bernoulli needs data of bits, 0 and 1, and these hold other numbers",
                             "use data such as heartbeat, or the process `gaussian`");
    }

    std::int64_t steps() const override { return levels_.steps(); }
    const dtk::NoiseLevels& levels() const override { return levels_; }
    double rate() const override { return rate_; }

    Tensor evidence(const Tensor& xt, const Time& t) const override {
        const auto x = xt.to(at::kDouble);
        const auto one = marginal(at::ones_like(x), t), zero = marginal(at::zeros_like(x), t);
        return at::where(x > 0.5, one.one.log() - zero.one.log(), one.zero.log() - zero.zero.log())
            .to(xt.scalar_type());
    }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double) const override {
        return (random.uniform(sizes, options) < rate_).to(options.dtype());
    }

    /// u ~ U[0, 1): x_t is 1 where u < P(x_t = 1).
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return random.uniform(sizes, options);
    }

    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return (noise < marginal(x0, t).one).to(x0.scalar_type());
    }

    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt, const Time& t) const override {
        if (type == PredictionType::x0) return x0;
        if (type == PredictionType::mean)
            return posterior(xt.x, t, t.minus(1)).mixed(certain(x0)).one.to(x0.scalar_type());
        if (type == PredictionType::logits)
            throw dtk::Error("the log-odds of a bit that is known are infinite, so there is no distance to them",
                             "use loss `elbo`, or target = \"x0\"");
        throw no_meaning(type);
    }

    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        if (prediction.type == to) return prediction.value;
        accept(to);
        const auto x0 = clean(prediction, xt, t);
        const auto value = to == PredictionType::x0       ? x0.one
                           : to == PredictionType::logits ? x0.one.log() - x0.zero.log()
                                                          : posterior(xt, t, t.minus(1)).mixed(x0).one;
        return value.to(xt.scalar_type());
    }

    /// A sample is made of bits, so that x_0 is drawn as the others are.
    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string&, const dtk::Random& random) const override {
        // Near the data a bit changes with a probability below the steps of a float32 number.
        const auto u = random.uniform(xt.sizes(), xt.options().dtype(at::kDouble));
        return (u < model_step(xt, prediction, t, s).one).to(xt.scalar_type());
    }

    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string&) const override {
        // Before the first step q(x_s | x_t, x_0) is x_0 itself, and KL is −log p(x_0 | x_t).
        return kl(posterior(xt, t, s).mixed(certain(x0)), model_step(xt, prediction, t, s)).to(x0.scalar_type());
    }

    Tensor prior_term(const Tensor& x0) const override {
        const auto q = marginal(x0, static_cast<double>(steps() - 1));
        return kl(q, {at::full_like(q.one, rate_), at::full_like(q.one, 1 - rate_)}).to(x0.scalar_type());
    }

    /// The variance of a bit follows from its mean: there is one choice.
    std::vector<std::string> variances() const override { return {"small"}; }

    void accept(PredictionType type) const override {
        if (type != PredictionType::x0 && type != PredictionType::logits && type != PredictionType::mean)
            throw no_meaning(type);
    }

 private:
    static Bit certain(const Tensor& x) {
        const auto bits = x.to(at::kDouble);
        return {bits, 1 - bits};
    }

    /// x where it is kept, which happens with probability `kept`, and a draw from the prior otherwise.
    Bit renewed(const Tensor& x, const Coefficient& kept, const Coefficient& anew) const {
        const auto bits = x.to(at::kDouble);
        return {kept * bits + anew * rate_, kept * (1 - bits) + anew * (1 - rate_)};
    }

    /// q(x_t | x_0)
    Bit marginal(const Tensor& x0, const Time& t) const { return renewed(x0, kept(t), anew(t)); }

    Posterior posterior(const Tensor& xt, const Time& t, const Time& s) const {
        const auto x = xt.to(at::kDouble);
        const auto kept_s = kept(s).beside(x), anew_s = anew(s).beside(x);
        const auto kept_between = (kept(t) / kept(s)).beside(x);
        const auto anew_between = t.map(s, [&](double t, double s) { return levels_.added_variance(t, s); }).beside(x);
        const auto drawn = anew_between * (x * rate_ + (1 - x) * (1 - rate_));
        const auto from_one = kept_between * x + drawn, from_zero = kept_between * (1 - x) + drawn;  // q(x_t | x_s)
        const auto given = [&](double x0) {
            const auto one = from_one * (kept_s * x0 + anew_s * rate_),
                       zero = from_zero * (kept_s * (1 - x0) + anew_s * (1 - rate_));
            return Bit{one / (one + zero), zero / (one + zero)};
        };
        return {given(0), given(1)};
    }

    /// P(x_0 | x_t) as the prediction has it.
    Bit clean(const dtk::Prediction& prediction, const Tensor& xt, const Time& t) const {
        accept(prediction.type);
        const auto value = prediction.value.to(at::kDouble);
        if (prediction.type == PredictionType::logits) return {value.sigmoid(), (-value).sigmoid()};
        if (prediction.type == PredictionType::x0) return certain(value.clamp(0, 1));
        // A mean of x_{t−1} that no x_0 explains is taken as the nearest that one does.
        const auto [of_zero, of_one] = posterior(xt, t, t.minus(1));
        return certain(((value - of_zero.one) / (of_one.one - of_zero.one)).clamp(0, 1));
    }

    /// p(x_s | x_t)
    Bit model_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s) const {
        auto step = posterior(xt, t, s).mixed(clean(prediction, xt, t));
        const auto x = xt.to(at::kDouble);
        const auto mask = [&](bool (*holds)(double t, double s)) {
            return t.map(s, [&](double t, double s) { return holds(t, s) ? 1.0 : 0.0; }).beside(x) > 0;
        };
        if (prediction.type == PredictionType::mean)
            step = where(mask([](double t, double s) { return s == t - 1; }), certain(prediction.value), step);
        // Bits drawn from the prior see the same chain in both directions.
        if (reversed_) step = where(mask([](double, double s) { return s < 0; }), marginal(xt, t), step);
        return step;
    }

    /// ᾱ_t and 1 − ᾱ_t
    Coefficient kept(const Time& t) const {
        return t.map([&](double t) { return levels_.alpha_bar(t); });
    }
    Coefficient anew(const Time& t) const {
        return t.map([&](double t) { return levels_.sigma2(t); });
    }

    static dtk::Error no_meaning(PredictionType type) {
        return dtk::Error(
            fmt::format("a process of bits has no meaning for a prediction of kind {}", dtk::name_of(type)),
            "use x0, logits or mean");
    }

    dtk::NoiseLevels levels_;
    double rate_;
    bool reversed_;
};
}  // namespace

DTK_PLUGIN(Process, bernoulli, Bernoulli, "bits that are drawn anew in T steps (Sohl-Dickstein et al. 2015)")
