// Processes that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>
#include <numbers>

#include <dtk/process.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::Coefficient;
using dtk::PredictionType;
using dtk::Time;

/// A Gaussian process of ε, x_0 and v with the variance β̃ that is right; each gets something else wrong.
struct Right : dtk::GaussianProcess {
    std::int64_t steps() const override { return 100; }
    bool whole_steps() const override { return false; }
    const dtk::NoiseLevels& levels() const override { return levels_; }
    double data_sd() const override { return 0.5; }
    Coefficient alpha(const Time& t) const override {
        return t.map([this](double t) { return levels_.alpha(t); });
    }
    Coefficient sigma(const Time& t) const override {
        return t.map([this](double t) { return levels_.sigma(t); });
    }
    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double) const override {
        return random.normal(sizes, options);
    }
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return random.normal(sizes, options);
    }
    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return sum_of(alpha(t), x0, sigma(t), noise);
    }
    dtk::Normal forward(const Tensor& xs, const Time& s, const Time& t) const override {
        return {alpha(t) / alpha(s) * xs, added(t, s).beside(xs)};
    }
    dtk::Normal reverse(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string&) const override {
        const auto x0 = convert(prediction, PredictionType::x0, xt, t);
        return {sum_of(of_x0(t, s), x0, of_xt(t, s), xt), left(t, s).beside(xt)};
    }
    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt, const Time& t) const override {
        accept(type);
        if (type == PredictionType::v) return sum_of(alpha(t), xt.noise, -sigma(t), x0);
        return type == PredictionType::x0 ? x0 : xt.noise;
    }
    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        if (prediction.type == to) return prediction.value;
        accept(to);
        const auto a = alpha(t), s = sigma(t);
        const auto x0 = prediction.type == PredictionType::x0    ? prediction.value
                        : prediction.type == PredictionType::eps ? (xt - s * prediction.value) / a
                                                                 : sum_of(a, xt, -s, prediction.value);
        if (to == PredictionType::x0) return x0;
        const auto eps = (xt - a * x0) / s;
        return to == PredictionType::eps ? eps : sum_of(a, eps, -s, x0);
    }
    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const dtk::Random& random) const override {
        const auto [mean, v] = reverse(xt, prediction, t, s, variance);
        return mean + v.sqrt() * random.normal(xt.sizes(), xt.options());
    }
    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string&) const override {
        const auto e2 = (x0 - convert(prediction, PredictionType::x0, xt, t)).square().flatten(1).sum(1);
        const auto last = s.map([](double s) { return s <= -1 ? 1.0 : 0.0; });
        const auto gain = where(last, 1, square(of_x0(t, s)) / where(last, 1, left(t, s)));
        const auto v = square(sigma(t) / alpha(t));
        const double d = static_cast<double>(x0[0].numel());
        const auto decoded = 0.5 * (e2 / v + d * (log(2 * std::numbers::pi * v)).rows(x0));
        return at::where(last.rows(x0) > 0, decoded, 0.5 * (gain * e2)).to(x0.scalar_type());
    }
    Tensor prior_term(const Tensor& x0) const override {
        const double a2 = levels_.alpha_bar(99), s2 = levels_.sigma2(99), d = static_cast<double>(x0[0].numel());
        return 0.5 * (a2 * x0.square().flatten(1).sum(1) + d * (s2 - 1 - std::log(s2)));
    }
    std::vector<std::string> variances() const override { return {"small"}; }
    void accept(PredictionType type) const override {
        if (type != PredictionType::eps && type != PredictionType::x0 && type != PredictionType::v)
            throw dtk::Error("it has no meaning here", "use eps, x0 or v");
    }

 protected:
    Coefficient added(const Time& t, const Time& s) const {
        return t.map(s, [this](double t, double s) { return levels_.added_variance(t, s); });
    }
    Coefficient left(const Time& t, const Time& s) const {
        return t.map(s, [this](double t, double s) { return levels_.posterior_variance(t, s); });
    }
    Coefficient of_x0(const Time& t, const Time& s) const {
        return t.map(s, [this](double t, double s) { return levels_.posterior_mean_x0(t, s); });
    }
    Coefficient of_xt(const Time& t, const Time& s) const {
        return t.map(s, [this](double t, double s) { return levels_.posterior_mean_xt(t, s); });
    }
    dtk::NoiseLevels levels_ =
        dtk::NoiseLevels::from_function(100, [](double u) { return dtk::variance_preserving(8 - 16 * u); });
};

/// ᾱ where α belongs.
struct AlphaBar final : Right {
    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return sum_of(square(alpha(t)), x0, sigma(t), noise);
    }
};

/// v with its sign turned, in the target alone.
struct TurnedV final : Right {
    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt, const Time& t) const override {
        const auto right = Right::target(type, x0, xt, t);
        return type == PredictionType::v ? -right : right;
    }
};

/// v is read as if it were ε.
struct ReadAsEps final : Right {
    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        auto read = prediction;
        if (read.type == PredictionType::v && to != PredictionType::v) read.type = PredictionType::eps;
        return Right::convert(read, to, xt, t);
    }
};

/// The step's standard deviation is its variance.
struct VarianceForSd final : Right {
    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const dtk::Random& random) const override {
        const auto [mean, v] = reverse(xt, prediction, t, s, variance);
        return mean + v * random.normal(xt.sizes(), xt.options());
    }
};

/// Noise in the last step, too.
struct NoisyEnd final : Right {
    dtk::Normal reverse(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance) const override {
        auto step = Right::reverse(xt, prediction, t, s, variance);
        step.variance = step.variance.clamp_min(1e-4);
        return step;
    }
};

/// One time for the whole batch.
struct FirstTime final : Right {
    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return Right::mix(x0, noise, t.rows(x0.size(0))[0].item<double>());
    }
};

/// A prior of another spread than what the chain comes to.
struct WidePrior final : Right {
    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double t) const override {
        return 1.3 * Right::prior(sizes, options, random, t);
    }
};

/// Half of what the terms are, the decoder among them: less than any bound.
struct HalfBound final : Right {
    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string& variance) const override {
        return 0.5 * Right::bound_term(x0, xt, t, s, prediction, variance);
    }
};

/// The decoder's normal density without its 2π.
struct NoTwoPi final : Right {
    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string& variance) const override {
        const auto last = s.map([](double s) { return s <= -1 ? 1.0 : 0.0; }).rows(x0);
        return Right::bound_term(x0, xt, t, s, prediction, variance) -
               (0.5 * static_cast<double>(x0[0].numel()) * std::log(2 * std::numbers::pi) * last).to(x0.scalar_type());
    }
};

/// The noise of a step on the way there: σ_t² − σ_s².
struct ForwardDifference final : Right {
    dtk::Normal forward(const Tensor& xs, const Time& s, const Time& t) const override {
        return {alpha(t) / alpha(s) * xs, (square(sigma(t)) - square(sigma(s))).beside(xs)};
    }
};

}  // namespace

DTK_PLUGIN(Process, alpha_bar, AlphaBar, "a Gaussian process has the α, σ, targets and prior of its levels")
DTK_PLUGIN(Process, turned_v, TurnedV, "perfect networks of all types say the same")
DTK_PLUGIN(Process, read_as_eps, ReadAsEps, "a prediction told in another type and back is itself")
DTK_PLUGIN(Process, variance_for_sd, VarianceForSd, "its steps back have the law of q(x_s | x_t, x_0), were x_0 known")
DTK_PLUGIN(Process, noisy_end, NoisyEnd, "its last step has no noise")
DTK_PLUGIN(Process, first_time, FirstTime, "rows have times of their own and know nothing of each other")
DTK_PLUGIN(Process, wide_prior, WidePrior, "at its last time it is its prior, as nearly as the prior's term says")
DTK_PLUGIN(Process, half_bound, HalfBound, "terms of the bound are divergences")
DTK_PLUGIN(Process, no_two_pi, NoTwoPi, "what it reconstructs has a law, which sums to 1")
DTK_PLUGIN(Process, forward_difference, ForwardDifference, "noise on noise is the noise of the whole way")
