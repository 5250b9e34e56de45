// q(x_t | x_0) = N(α_t x_0, σ_t² I) and what follows from it.
#include <cmath>
#include <numbers>

#include <dtk/dataset.hpp>
#include <dtk/gaussian_chain.hpp>

namespace dtk {

namespace {

/// Σ over all but the first dimension → [B]
Tensor row_sum(const Tensor& x) { return x.flatten(1).sum(1); }

bool before_data(double s) { return s > -1; }

bool at_data(double s) { return s <= -1; }

Coefficient is_last(const Time& s) {
    return s.map([](double s) { return s <= -1 ? 1.0 : 0.0; });
}

Coefficient minus_expm1(const Coefficient& log) {
    return Coefficient::apply(
        log, [](double x) { return -std::expm1(x); }, [](const Tensor& x) { return -x.expm1(); });
}

/// −log N(x; mean, variance) of every element
Tensor density(const Tensor& x, const Tensor& mean, const Tensor& variance) {
    return 0.5 * ((2 * std::numbers::pi * variance).log() + (x - mean).square() / variance);
}

Error no_meaning(PredictionType type) {
    return Error("a Gaussian process has no meaning for a prediction of kind " + std::string(name_of(type)),
                 "use eps, x0, v, score, velocity, edm or mean");
}

}  // namespace

GaussianChain::GaussianChain(const Config& config, const BuildContext& context)
    : steps_(config.steps),
      reversed_(config.decoder == "reversed"),
      data_sd_(config.data_sd),
      data_(context.chain_data()) {
    if (config.decoder == "auto" || config.decoder == "discretised")
        read_levels(context.space(), config.decoder == "discretised");
    else if (context.space().levels > 1)
        throw Error("decoder = \"" + config.decoder + "\" is a density, and the data come in " +
                        std::to_string(context.space().levels) +
                        " levels: what is a bound on the one is none on the probability of the other",
                    "leave `decoder` out, or fill the levels up with noise: dataset = {use = \"standardised\", "
                    "of = {use = …}}");
    const auto schedule = config.schedule.make(context);
    learned_ = std::dynamic_pointer_cast<LearnedSchedule>(schedule);
    if (learned_) {
        child("schedule", learned_);
        return;
    }
    levels_ = schedule->levels(steps_);
    if (levels_.steps() != steps_)
        throw Error("the schedule answers " + std::to_string(levels_.steps()) + " noise levels for " +
                        std::to_string(steps_) + " steps",
                    "levels(steps) must return as many as there are steps");
}

std::int64_t GaussianChain::steps() const { return steps_; }

bool GaussianChain::whole_steps() const { return learned_ && learned_->whole_steps(); }

const NoiseLevels& GaussianChain::levels() const {
    if (learned_) levels_ = learned_->levels(steps_);
    return levels_;
}

Coefficient GaussianChain::alpha(const Time& t) const {
    if (learned_) return exp(0.5 * log_alpha_bar(t));
    return t.map([&](double t) { return levels_.alpha(t); });
}

Coefficient GaussianChain::sigma(const Time& t) const { return sqrt(sigma2(t)); }

double GaussianChain::data_sd() const {
    if (data_sd_ == 0) data_sd_ = measured_sd();
    return data_sd_;
}

Tensor GaussianChain::prior(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random,
                            double t) const {
    return noise(sizes, options, random) * levels().prior_sd(t);
}

Tensor GaussianChain::noise(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random) const {
    return random.normal(sizes, options);
}

Tensor GaussianChain::mix(const Tensor& x0, const Tensor& noise, const Time& t) const {
    return sum_of(alpha(t), x0, sigma(t), noise);
}

Normal GaussianChain::forward(const Tensor& xs, const Time& s, const Time& t) const {
    return {alpha(t) / alpha(s) * xs, added(t, s).beside(xs)};
}

Normal GaussianChain::reverse(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                              const std::string& variance) const {
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

Tensor GaussianChain::target(PredictionType type, const Tensor& x0, const NoisySample& xt, const Time& t) const {
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

Tensor GaussianChain::convert(const Prediction& prediction, PredictionType to, const Tensor& xt, const Time& t) const {
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

Tensor GaussianChain::reverse_step(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                                   const std::string& variance, const Random& random) const {
    const auto step = reverse(xt, prediction, t, s, variance);
    if (!reversed_ && s.all(at_data)) return step.mean;
    return step.mean + step.variance.sqrt() * noise(xt.sizes(), xt.options(), random);
}

Tensor GaussianChain::bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                                 const Prediction& prediction, const std::string& variance) const {
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
        const auto kl = 0.5 * ((sigma2 / posterior).log() + (posterior + square(step.mean_x0) * error2) / sigma2 - 1);
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

Tensor GaussianChain::prior_term(const Tensor& x0) const {
    const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0));
    const double T = static_cast<double>(steps_ - 1), p2 = std::pow(levels().prior_sd(T), 2);
    const auto a2 = square(alpha(T)) / p2, s2 = sigma2(T) / p2;
    return (0.5 * (row_sum(x0.square()).to(at::kDouble) * a2 + d * (s2 - 1 - log(s2)))).to(x0.scalar_type());
}

std::vector<std::string> GaussianChain::variances() const { return {"small", "large"}; }

void GaussianChain::accept(PredictionType type) const {
    const auto& levels = this->levels();
    const auto last = levels.at(levels.last());
    switch (type) {
        case PredictionType::eps:
        case PredictionType::score:
        case PredictionType::edm:
            if (last.alpha == 0)
                throw Error(
                    "a network that predicts " + std::string(name_of(type)) +
                        " says nothing where α = 0, and this schedule ends there",
                    "use prediction = \"v\", \"velocity\" or \"x0\", or a schedule that keeps some signal at the "
                    "last step");
            return;
        case PredictionType::velocity:
            if (learned_)
                throw Error("a velocity is dx/du, and how a learned schedule moves with u is not followed",
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

Coefficient GaussianChain::log_alpha_bar(const Time& t) const {
    const auto there = at::TensorOptions(learned_->parameters().front().device()).dtype(at::kDouble);
    const auto rows = t.uniform() ? at::full({1}, t.value(), there) : t.rows(0).to(there, /*non_blocking=*/true);
    return Coefficient::of_rows(learned_->log_alpha_bar(rows, steps_));
}

Coefficient GaussianChain::sigma2(const Time& t) const {
    if (learned_) return minus_expm1(log_alpha_bar(t));
    return t.map([&](double t) { return levels_.sigma2(t); });
}

Coefficient GaussianChain::added(const Time& t, const Time& s) const {
    if (learned_) return minus_expm1(log_alpha_bar(t) - log_alpha_bar(s));
    return t.map(s, [&](double t, double s) { return levels_.added_variance(t, s); });
}

GaussianChain::Step GaussianChain::step(const Time& t, const Time& s) const {
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

GaussianChain::Rates GaussianChain::rates(const Time& t) const {
    if (learned_)
        throw Error("a velocity is dx/du, and how a learned schedule moves with u is not followed",
                    "use another schedule, or a sampler and a prediction without velocity");
    return {t.map([&](double t) { return levels_.rates(t).alpha; }),
            t.map([&](double t) { return levels_.rates(t).sigma; })};
}

GaussianChain::Preconditioning GaussianChain::preconditioning(const Time& t) const {
    const double sd2 = std::pow(data_sd(), 2);
    const auto a = alpha(t), s2 = sigma2(t) / square(a);
    return {sd2 / (s2 + sd2) / a, sqrt(s2 * sd2 / (s2 + sd2))};
}

Tensor GaussianChain::x0_of(const Prediction& prediction, const Tensor& xt, const Time& t) const {
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

Tensor GaussianChain::eps_of(const Prediction& prediction, const Tensor& xt, const Time& t) const {
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

double GaussianChain::measured_sd() const {
    const auto n = data_.size() > 0 ? std::min<std::int64_t>(data_.size(), 4096) : 4096;
    return data_.examples(at::arange(n, at::kLong)).x.to(at::kDouble).std().item<double>();
}

Coefficient GaussianChain::fixed_variance(const Step& step, const std::string& variance) const {
    if (variance == "small") return step.posterior;
    if (variance == "large") return step.added;
    throw Error("a Gaussian process has no reverse variance `" + variance + "`", "use \"small\" or \"large\"");
}

Tensor GaussianChain::model_variance(const Step& step, const Prediction& prediction, const Time& t, const Time& s,
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

void GaussianChain::read_levels(const Space& space, bool needed) {
    if (space.levels > 1 && space.range) {
        levels_of_data_ = space.levels;
        range_ = *space.range;
    } else if (needed) {
        throw Error("decoder = \"discretised\" needs data that come in levels, such as 8-bit images",
                    "leave it \"auto\"");
    }
}

Tensor GaussianChain::decoder(const Tensor& x0, const Tensor& estimate, const Tensor& sigma2) const {
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

}  // namespace dtk
