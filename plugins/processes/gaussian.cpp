// q(x_t | x_0) = N(α_t x_0, σ_t² I),   p(x_T) = N(0, I),   q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃ I)
// Sohl-Dickstein et al. 2015; Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, eqs. 4–7, written
// for any s < t (Song, Meng & Ermon 2020) and any α, σ (Kingma et al., "Variational Diffusion Models", 2021).
//
// A schedule may be learned: then α, σ and β are functions of its tensors and so is all that is computed here
// (Sohl-Dickstein et al. 2015, section 2.4.1). A prediction `mean` is that of p(x_{t−1} | x_t), and a variance that
// comes with a prediction is that of the same step; over a longer step it keeps its place between β̃ and β (Nichol &
// Dhariwal 2021, eq. 15).
#include <cmath>
#include <numbers>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/learned_schedule.hpp>
#include <dtk/process.hpp>

namespace {

using at::Tensor;
using dtk::Coefficient;
using dtk::PredictionType;
using dtk::Time;

/// Σ over all but the first dimension → [B]
Tensor row_sum(const Tensor& x) { return x.flatten(1).sum(1); }

struct Gaussian final : dtk::GaussianProcess {
    struct Config {
        std::int64_t steps = 1000;
        dtk::Part<dtk::Schedule> schedule;
        std::string decoder = "auto";
        double data_sd = 0;
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::in(1, 1000000), "T, the steps of the Markov chain");
            f("schedule", schedule, "how noisy each step is");
            f("decoder", decoder, {"auto", "gaussian", "discretised", "reversed"},
              "p(x_0 | x_1): a density, the probability of x_0's bin, or the forward kernel turned around, q(x_1 | "
              "x_0) p(x_0)/p(x_1) with the prior p, as in 2015; auto: of its bin where the data come in levels");
            f("data_sd", data_sd, dtk::at_least(0),
              "standard deviation of the data's elements, for prediction = \"edm\"; 0: measured on 4096 examples");
        }
    };
    Gaussian(const Config& config, const dtk::BuildContext& context)
        : steps_(config.steps),
          reversed_(config.decoder == "reversed"),
          data_sd_(config.data_sd),
          data_(context.chain_data()) {
        if (config.decoder == "auto" || config.decoder == "discretised")
            read_levels(context.space(), config.decoder == "discretised");
        else if (context.space().levels > 1)
            throw dtk::Error(
                "decoder = \"" + config.decoder + "\" is a density, and the data come in " +
                    std::to_string(context.space().levels) +
                    " levels: what is a bound on the one is none on the probability of the other",
                "leave `decoder` out, or fill the levels up with noise: dataset = {use = \"standardised\", "
                "of = {use = …}}");
        const auto schedule = config.schedule.make(context);
        learned_ = std::dynamic_pointer_cast<dtk::LearnedSchedule>(schedule);
        if (learned_) {
            child("schedule", learned_);
            return;
        }
        levels_ = schedule->levels(steps_);
        if (levels_.steps() != steps_)
            throw dtk::Error("the schedule answers " + std::to_string(levels_.steps()) + " noise levels for " +
                                 std::to_string(steps_) + " steps",
                             "levels(steps) must return as many as there are steps");
    }

    std::int64_t steps() const override { return steps_; }
    bool whole_steps() const override { return learned_ && learned_->whole_steps(); }
    const dtk::NoiseLevels& levels() const override {
        if (learned_) levels_ = learned_->levels(steps_);
        return levels_;
    }

    Coefficient alpha(const Time& t) const override {
        if (learned_) return exp(0.5 * log_alpha_bar(t));
        return t.map([&](double t) { return levels_.alpha(t); });
    }
    Coefficient sigma(const Time& t) const override { return sqrt(sigma2(t)); }
    double data_sd() const override {
        if (data_sd_ == 0) data_sd_ = measured_sd();
        return data_sd_;
    }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double t) const override {
        return random.normal(sizes, options) * levels().prior_sd(t);
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
                        const std::string& variance) const override {
        const auto step = this->step(t, s);
        const auto x0 = convert(prediction, PredictionType::x0, xt, t);
        auto mean = sum_of(step.mean_x0, x0, step.mean_xt, xt);
        auto spread = model_variance(step, prediction, t, s, variance, xt);
        if (s.all(before_data)) return {mean, spread};
        const auto last = is_last(s);
        if (!reversed_) return {mean, spread * where(last, 0, 1)};
        return {where(last, 0, 1) * mean + where(last, step.turned_mean, 0) * xt,
                spread * where(last, 0, 1) + where(last, step.turned_variance, 0)};
    }

    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt, const Time& t) const override {
        switch (type) {
            case PredictionType::eps:
                return xt.noise;
            case PredictionType::x0:
                return x0;
            case PredictionType::v:
                return sum_of(alpha(t), xt.noise, -sigma(t), x0);
            case PredictionType::score:
                return -xt.noise / sigma(t);
            case PredictionType::velocity: {
                const auto [alpha_rate, sigma_rate] = rates(t);
                return sum_of(alpha_rate, x0, sigma_rate, xt.noise);
            }
            case PredictionType::mean:
            case PredictionType::edm:
                return convert({PredictionType::x0, x0, {}}, type, xt.x, t);
            default:
                throw no_meaning(type);
        }
    }

    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        if (prediction.type == to) return prediction.value;
        switch (to) {
            case PredictionType::x0:
                return x0_of(prediction, xt, t);
            case PredictionType::eps:
                return eps_of(prediction, xt, t);
            case PredictionType::v:
                return sum_of(alpha(t), eps_of(prediction, xt, t), -sigma(t), x0_of(prediction, xt, t));
            case PredictionType::score:
                return -eps_of(prediction, xt, t) / sigma(t);
            case PredictionType::velocity: {
                const auto [alpha_rate, sigma_rate] = rates(t);
                return sum_of(alpha_rate, x0_of(prediction, xt, t), sigma_rate, eps_of(prediction, xt, t));
            }
            case PredictionType::edm: {
                const auto [skip, out] = preconditioning(t);
                return sum_of(1 / out, x0_of(prediction, xt, t), -skip / out, xt);
            }
            case PredictionType::mean: {
                const auto step = this->step(t, t.minus(1));
                return sum_of(step.mean_x0, x0_of(prediction, xt, t), step.mean_xt, xt);
            }
            default:
                throw no_meaning(to);
        }
    }

    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const dtk::Random& random) const override {
        const auto step = reverse(xt, prediction, t, s, variance);
        if (!reversed_ && s.all(at_data)) return step.mean;
        return step.mean + step.variance.sqrt() * random.normal(xt.sizes(), xt.options());
    }

    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string& variance) const override {
        const auto step = this->step(t, s);
        const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0));
        const auto estimate = convert(prediction, PredictionType::x0, xt, t);
        const auto error2 = (x0 - estimate).square();
        const bool some_last = !s.all(before_data), all_last = s.all(at_data);
        const auto last = is_last(s);
        // No branch may divide by zero where the other one is taken: the gradient would be 0·∞.
        const auto unless_last = [&](const Coefficient& value) { return where(last, 1, value); };
        const auto kept = unless_last(step.posterior);
        const auto decoded = [&](const Tensor& sigma2) {
            return reversed_ ? density(x0, step.turned_mean * xt, step.turned_variance.beside(xt))
                             : decoder(x0, estimate, sigma2);
        };
        if (prediction.variance) {  // a variance for every element
            const auto sigma2 = model_variance(step, prediction, t, s, variance, xt).expand_as(x0);
            const auto posterior = kept.beside(xt);
            const auto kl =
                0.5 * ((sigma2 / posterior).log() + (posterior + square(step.mean_x0) * error2) / sigma2 - 1);
            if (!some_last) return row_sum(kl);
            if (all_last) return row_sum(decoded(sigma2));
            return row_sum(at::where(last.beside(xt) > 0, decoded(sigma2), kl));
        }
        const auto e2 = row_sum(error2).to(at::kDouble);
        const auto sigma2 = unless_last(fixed_variance(step, variance)), ratio = kept / sigma2;
        const auto kl = [&] { return 0.5 * (e2 * (square(step.mean_x0) / sigma2) + d * (ratio - 1 - log(ratio))); };
        // The decoder has the variance of Ho et al.'s code, β̃ of the step before. A density needs e2 alone.
        const auto reconstruction = [&] {
            return levels_of_data_ == 0 && !reversed_
                       ? 0.5 * (e2 / step.decoder + d * log(2 * std::numbers::pi * step.decoder))
                       : row_sum(decoded(step.decoder.beside(x0.to(at::kDouble))));
        };
        if (!some_last) return kl().to(x0.scalar_type());
        if (all_last) return reconstruction().to(x0.scalar_type());
        return at::where(last.rows(x0) > 0, reconstruction(), kl()).to(x0.scalar_type());
    }

    Tensor prior_term(const Tensor& x0) const override {
        const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0));
        const double T = static_cast<double>(steps_ - 1), p2 = std::pow(levels().prior_sd(T), 2);
        const auto a2 = square(alpha(T)) / p2, s2 = sigma2(T) / p2;
        return (0.5 * (row_sum(x0.square()).to(at::kDouble) * a2 + d * (s2 - 1 - log(s2)))).to(x0.scalar_type());
    }

    std::vector<std::string> variances() const override { return {"small", "large"}; }

    void accept(PredictionType type) const override {
        const auto& levels = this->levels();
        const auto last = levels.at(levels.last());
        switch (type) {
            case PredictionType::eps:
            case PredictionType::score:
            case PredictionType::edm:
                if (last.alpha == 0)
                    throw dtk::Error(
                        "a network that predicts " + std::string(dtk::name_of(type)) +
                            " says nothing where α = 0, and this schedule ends there",
                        "use prediction = \"v\", \"velocity\" or \"x0\", or a schedule that keeps some signal at the "
                        "last step");
                return;
            case PredictionType::velocity:
                if (learned_)
                    throw dtk::Error("a velocity is dx/du, and how a learned schedule moves with u is not followed",
                                     "use prediction = \"v\", or another schedule");
                return;
            case PredictionType::x0:
            case PredictionType::v:
            case PredictionType::mean:
                return;
            default:
                throw no_meaning(type);
        }
    }

 private:
    static bool before_data(double s) { return s > -1; }
    static bool at_data(double s) { return s <= -1; }
    static Coefficient is_last(const Time& s) {
        return s.map([](double s) { return s <= -1 ? 1.0 : 0.0; });
    }

    /// log ᾱ_t of a learned schedule as it is now, differentiable.
    Coefficient log_alpha_bar(const Time& t) const {
        const auto there = at::TensorOptions(learned_->parameters().front().device()).dtype(at::kDouble);
        const auto rows = t.uniform() ? at::full({1}, t.value(), there) : t.rows(0).to(there, /*non_blocking=*/true);
        return Coefficient::of_rows(learned_->log_alpha_bar(rows, steps_));
    }

    static Coefficient minus_expm1(const Coefficient& log) {
        return Coefficient::apply(
            log, [](double x) { return -std::expm1(x); }, [](const Tensor& x) { return -x.expm1(); });
    }

    Coefficient sigma2(const Time& t) const {
        if (learned_) return minus_expm1(log_alpha_bar(t));
        return t.map([&](double t) { return levels_.sigma2(t); });
    }

    /// The variance that is added between s and t.
    Coefficient added(const Time& t, const Time& s) const {
        if (learned_) return minus_expm1(log_alpha_bar(t) - log_alpha_bar(s));
        return t.map(s, [&](double t, double s) { return levels_.added_variance(t, s); });
    }

    /// What a step t → s needs.
    struct Step {
        Coefficient posterior = 0, added = 0, mean_x0 = 0, mean_xt = 0, decoder = 0, turned_mean = 0,
                    turned_variance = 0;
    };
    Step step(const Time& t, const Time& s) const {
        Step step;
        const auto alpha_t = alpha(t), alpha_s = alpha(s), sigma2_t = sigma2(t), sigma2_s = sigma2(s);
        step.added = added(t, s);
        step.posterior = step.added * sigma2_s / sigma2_t;
        step.mean_x0 = alpha_s * step.added / sigma2_t;
        step.mean_xt = alpha_t / alpha_s * sigma2_s / sigma2_t;
        // β̃ of the step after t: the variance of the last step in the code of Ho et al. 2020.
        const double last = static_cast<double>(steps_ - 1);
        const auto next = t.uniform() ? Time(std::min(t.value() + 1, last)) : Time((t.rows(0) + 1).clamp_max(last));
        const auto ended = t.map([&](double t) { return t + 1 > last ? 1.0 : 0.0; });
        step.decoder = added(next, next.minus(1)) * where(ended, 1, sigma2_t / sigma2(next));
        if (reversed_) {
            const double prior2 = std::pow(levels().prior_sd(last), 2);
            const auto both = square(alpha_t) * prior2 + sigma2_t;
            step.turned_mean = alpha_t * prior2 / both;
            step.turned_variance = prior2 * sigma2_t / both;
        }
        return step;
    }

    struct Rates {
        Coefficient alpha, sigma;
    };
    Rates rates(const Time& t) const {
        if (learned_)
            throw dtk::Error("a velocity is dx/du, and how a learned schedule moves with u is not followed",
                             "use another schedule, or a sampler and a prediction without velocity");
        return {t.map([&](double t) { return levels_.rates(t).alpha; }),
                t.map([&](double t) { return levels_.rates(t).sigma; })};
    }

    /// x̂_0 = skip·x_t + out·F (Karras et al. 2022, table 1, for x_t/α at σ/α).
    struct Preconditioning {
        Coefficient skip, out;
    };
    Preconditioning preconditioning(const Time& t) const {
        const double sd2 = std::pow(data_sd(), 2);
        const auto a = alpha(t), s2 = sigma2(t) / square(a);
        return {sd2 / (s2 + sd2) / a, sqrt(s2 * sd2 / (s2 + sd2))};
    }

    Tensor x0_of(const dtk::Prediction& prediction, const Tensor& xt, const Time& t) const {
        const auto& value = prediction.value;
        switch (prediction.type) {
            case PredictionType::x0:
                return value;
            case PredictionType::eps:
                return sum_of(1 / alpha(t), xt, -sigma(t) / alpha(t), value);
            case PredictionType::score:
                return sum_of(1 / alpha(t), xt, sigma2(t) / alpha(t), value);
            case PredictionType::v: {
                const auto a = alpha(t), s = sigma(t), all = square(a) + square(s);
                return sum_of(a / all, xt, -(s / all), value);
            }
            case PredictionType::velocity: {
                const auto a = alpha(t), s = sigma(t);
                const auto [a_rate, s_rate] = rates(t);
                const auto det = a_rate * s - a * s_rate;
                return sum_of(s / det, value, -(s_rate / det), xt);
            }
            case PredictionType::edm: {
                const auto [skip, out] = preconditioning(t);
                return sum_of(skip, xt, out, value);
            }
            case PredictionType::mean: {
                const auto step = this->step(t, t.minus(1));
                return sum_of(1 / step.mean_x0, value, -step.mean_xt / step.mean_x0, xt);
            }
            default:
                throw no_meaning(prediction.type);
        }
    }

    Tensor eps_of(const dtk::Prediction& prediction, const Tensor& xt, const Time& t) const {
        const auto& value = prediction.value;
        switch (prediction.type) {
            case PredictionType::eps:
                return value;
            case PredictionType::score:
                return -sigma(t) * value;
            case PredictionType::v: {
                const auto a = alpha(t), s = sigma(t), all = square(a) + square(s);
                return sum_of(s / all, xt, a / all, value);
            }
            case PredictionType::velocity: {
                const auto a = alpha(t), s = sigma(t);
                const auto [a_rate, s_rate] = rates(t);
                const auto det = a_rate * s - a * s_rate;
                return sum_of(a_rate / det, xt, -(a / det), value);
            }
            default:
                return sum_of(1 / sigma(t), xt, -alpha(t) / sigma(t), x0_of(prediction, xt, t));
        }
    }

    double measured_sd() const {
        const auto n = data_.size() > 0 ? std::min<std::int64_t>(data_.size(), 4096) : 4096;
        return data_.examples(at::arange(n, at::kLong)).x.to(at::kDouble).std().item<double>();
    }

    Coefficient fixed_variance(const Step& step, const std::string& variance) const {
        if (variance == "small") return step.posterior;
        if (variance == "large") return step.added;
        throw dtk::Error("a Gaussian process has no reverse variance `" + variance + "`", "use \"small\" or \"large\"");
    }

    /// Of the step t → s, shaped to stand beside x.
    Tensor model_variance(const Step& step, const dtk::Prediction& prediction, const Time& t, const Time& s,
                          const std::string& variance, const Tensor& x) const {
        if (!prediction.variance) return fixed_variance(step, variance).beside(x);
        // log Σ = f·log β + (1 − f)·log β̃ with the f of the one step that the prediction is of. Before the first step
        // β̃ = 0, and its place is taken by that of the step after t.
        const auto log_least = [](const Step& step, const Time& s) {
            return log(where(is_last(s), step.decoder, step.posterior));
        };
        const auto before = t.minus(1);
        const auto of_one = this->step(t, before);
        const auto least = log_least(step, s), least_of_one = log_least(of_one, before);
        const auto room = log(of_one.added) - least_of_one;
        const auto has_room = Coefficient::apply(
            room, [](double x) { return std::abs(x) > 1e-12 ? 1.0 : 0.0; },
            [](const Tensor& x) { return (x.abs() > 1e-12).to(x.scalar_type()); });
        const auto stretch = where(has_room, (log(step.added) - least) / where(has_room, room, 1), 1);
        return (prediction.variance->log() * stretch.beside(x) + (least - stretch * least_of_one).beside(x)).exp();
    }

    void read_levels(const dtk::Space& space, bool needed) {
        if (space.levels > 1 && space.range) {
            levels_of_data_ = space.levels;
            range_ = *space.range;
        } else if (needed) {
            throw dtk::Error("decoder = \"discretised\" needs data that come in levels, such as 8-bit images",
                             "leave it \"auto\"");
        }
    }

    /// −log p(x_0 | x_1) of every element: a normal density around x̂_0 or, where the data come in levels, its integral
    /// over the level's bin, the outermost bins without end (Ho et al. 2020, eq. 13).
    Tensor decoder(const Tensor& x0, const Tensor& estimate, const Tensor& sigma2) const {
        if (levels_of_data_ == 0) return density(x0, estimate, sigma2);
        constexpr double endless = 1e4;  // standard deviations; ∞ has no gradient
        const auto [least, most] = range_;
        const double half = 0.5 * (most - least) / (levels_of_data_ - 1);
        const auto x = x0.to(at::kDouble), error = x - estimate.to(at::kDouble), sigma = sigma2.to(at::kDouble).sqrt();
        const auto above = at::where(x > most - half, endless, (error + half) / sigma);
        const auto below = at::where(x < least + half, -endless, (error - half) / sigma);
        // Φ(b) − Φ(a) = Φ(−a) − Φ(−b): of the two the one in the lower tail, where log Φ is precise.
        const auto mirrored = error > 0;
        const auto a = at::special_log_ndtr(at::where(mirrored, -above, below)),
                   b = at::special_log_ndtr(at::where(mirrored, -below, above));
        return -(b + at::log1p(-(a - b).exp()));
    }

    /// −log N(x; mean, variance) of every element
    static Tensor density(const Tensor& x, const Tensor& mean, const Tensor& variance) {
        return 0.5 * ((2 * std::numbers::pi * variance).log() + (x - mean).square() / variance);
    }

    static dtk::Error no_meaning(PredictionType type) {
        return dtk::Error(
            "a Gaussian process has no meaning for a prediction of kind " + std::string(dtk::name_of(type)),
            "use eps, x0, v, score, velocity, edm or mean");
    }

    std::int64_t steps_;
    bool reversed_;
    std::shared_ptr<dtk::LearnedSchedule> learned_;  ///< null where the schedule is fixed
    mutable dtk::NoiseLevels levels_;
    mutable double data_sd_;  ///< 0 until it is measured
    const dtk::Dataset& data_;
    int levels_of_data_ = 0;  ///< 0: the data are real numbers
    std::pair<double, double> range_;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Process, gaussian, Gaussian, "Gaussian noise added in T steps (Ho et al. 2020)")
