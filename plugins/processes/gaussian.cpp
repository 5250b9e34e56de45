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

#include <dtk/dataset.hpp>
#include <dtk/learned_schedule.hpp>
#include <dtk/process.hpp>
#include <dtk/view.hpp>

namespace {

using at::Tensor;
using dtk::Predicts;

/// Σ over all but the first dimension → [B]
Tensor row_sum(const Tensor& x) { return x.flatten(1).sum(1); }

struct Gaussian final : dtk::GaussianProcess {
    struct Config {
        std::int64_t steps = 1000;
        dtk::Choice<dtk::Schedule> schedule;
        std::string decoder = "auto";
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::in(1, 1000000), "T, the steps of the Markov chain");
            f("schedule", schedule, "how noisy each step is");
            f("decoder", decoder, {"auto", "gaussian", "discretised", "reversed"},
              "p(x_0 | x_1): a density, the probability of x_0's bin, or the forward kernel turned around, q(x_1 | "
              "x_0) p(x_0)/p(x_1) with the prior p, as in 2015; auto: of its bin where the data come in levels");
        }
    };
    Gaussian(const Config& config, const dtk::View& view)
        : steps_(config.steps), reversed_(config.decoder == "reversed") {
        if (config.decoder == "auto" || config.decoder == "discretised")
            read_levels(view.dataset(), config.decoder == "discretised");
        const auto schedule = config.schedule.make(view);
        learned_ = std::dynamic_pointer_cast<dtk::LearnedSchedule>(schedule);
        if (learned_) {
            child("schedule", learned_);
            return;
        }
        levels_ = schedule->levels(steps_);
        const auto table = [&](auto value) {  // entry t + 1 is time t; entry 0 is before the first step
            std::vector<double> column;
            for (std::int64_t t = -1; t < steps_; ++t) column.push_back(value(t));
            return at::tensor(column, at::kDouble);
        };
        alpha_ = &constant("alpha", table([&](auto t) { return levels_.alpha(t); }));
        sigma2_ = &constant("sigma2", table([&](auto t) { return levels_.sigma2(t); }));
        beta_ = &constant("beta", table([&](auto t) { return t < 0 ? 0 : levels_.added_variance(t, t - 1); }));
        const double last = levels_.alpha_bar(steps_ - 1) + levels_.sigma2(steps_ - 1);
        prior_sd_ = std::abs(last - 1) < 1e-6 ? 1 : levels_.sigma(steps_ - 1);
    }

    std::int64_t steps() const override { return steps_; }
    const dtk::NoiseLevels& levels() const override {
        if (learned_) levels_ = learned_->levels(steps_);
        return levels_;
    }

    Tensor alpha(const Tensor& t, const Tensor& x) const override { return like(x, at(tables().alpha, t)); }
    Tensor sigma(const Tensor& t, const Tensor& x) const override { return like(x, at(tables().sigma2, t).sqrt()); }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return random.normal(sizes, options) * prior_sd_;
    }

    dtk::Noised noised(const Tensor& x0, const Tensor& t, const dtk::Random& random) const override {
        const auto eps = random.normal(x0.sizes(), x0.options());
        return {alpha(t, x0) * x0 + sigma(t, x0) * eps, eps};
    }

    dtk::Normal reverse(const Tensor& xt, const dtk::Prediction& prediction, const Tensor& t, const Tensor& s,
                        const std::string& variance) const override {
        const auto step = this->step(t, s);
        const auto x0 = convert(prediction, Predicts::x0, xt, t);
        const auto mean = like(xt, step.mean_x0) * x0 + like(xt, step.mean_xt) * xt;
        const auto last = like(xt, s) < 0;
        if (!reversed_)
            return {mean,
                    at::where(last, at::zeros({}, xt.options()), model_variance(step, prediction, t, variance, xt))};
        return {at::where(last, like(xt, step.turned_mean) * xt, mean),
                at::where(last, like(xt, step.turned_variance), model_variance(step, prediction, t, variance, xt))};
    }

    Tensor target(Predicts kind, const Tensor& x0, const dtk::Noised& xt, const Tensor& t) const override {
        switch (kind) {
            case Predicts::eps:
                return xt.noise;
            case Predicts::x0:
                return x0;
            case Predicts::v:
                return alpha(t, x0) * xt.noise - sigma(t, x0) * x0;
            case Predicts::score:
                return -xt.noise / sigma(t, x0);
            case Predicts::mean:
                return convert({Predicts::x0, x0, {}}, Predicts::mean, xt.x, t);
            default:
                throw no_meaning(kind);
        }
    }

    Tensor convert(const dtk::Prediction& prediction, Predicts to, const Tensor& xt, const Tensor& t) const override {
        const auto& value = prediction.value;
        if (prediction.kind == to) return value;
        if (prediction.kind == Predicts::mean || to == Predicts::mean) {
            const auto step = this->step(t, t - 1);
            const auto of_x0 = like(xt, step.mean_x0), of_xt = like(xt, step.mean_xt);
            if (to == Predicts::mean) return of_x0 * convert(prediction, Predicts::x0, xt, t) + of_xt * xt;
            return convert({Predicts::x0, (value - of_xt * xt) / of_x0, {}}, to, xt, t);
        }
        if (prediction.kind == Predicts::score || to == Predicts::score) {
            const auto s = sigma(t, xt);
            if (to == Predicts::score) return -convert(prediction, Predicts::eps, xt, t) / s;
            return convert({Predicts::eps, -s * value, {}}, to, xt, t);
        }
        const auto a = alpha(t, xt), s = sigma(t, xt);
        if (to == Predicts::v) {
            const auto x0 = convert(prediction, Predicts::x0, xt, t), eps = convert(prediction, Predicts::eps, xt, t);
            return a * eps - s * x0;
        }
        if (prediction.kind == Predicts::eps && to == Predicts::x0) return (xt - s * value) / a;
        if (prediction.kind == Predicts::x0 && to == Predicts::eps) return (xt - a * value) / s;
        if (prediction.kind == Predicts::v && to == Predicts::x0) return (a * xt - s * value) / (a * a + s * s);
        if (prediction.kind == Predicts::v && to == Predicts::eps) return (s * xt + a * value) / (a * a + s * s);
        throw no_meaning(prediction.kind == Predicts::eps || prediction.kind == Predicts::x0 ||
                                 prediction.kind == Predicts::v
                             ? to
                             : prediction.kind);
    }

    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Tensor& t, const Tensor& s,
                        const std::string& variance, const dtk::Random& random) const override {
        const auto step = reverse(xt, prediction, t, s, variance);
        return step.mean + step.variance.sqrt() * random.normal(xt.sizes(), xt.options());
    }

    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Tensor& t, const Tensor& s,
                      const dtk::Prediction& prediction, const std::string& variance) const override {
        const auto step = this->step(t, s);
        const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0));
        const auto estimate = convert(prediction, Predicts::x0, xt, t);
        const auto error2 = (x0 - estimate).square();
        // No branch may divide by zero where the other one is taken: the gradient would be 0·∞.
        const auto unless_last = [&](const Tensor& value) { return at::where(s >= 0, value, at::ones_like(value)); };
        const auto kept = unless_last(step.posterior);
        const auto decoded = [&](const Tensor& sigma2) {
            return reversed_ ? density(x0, like(xt, step.turned_mean) * xt, like(xt, step.turned_variance))
                             : decoder(x0, estimate, sigma2);
        };
        if (prediction.variance) {  // a variance for every element
            const auto sigma2 = model_variance(step, prediction, t, variance, xt).expand_as(x0);
            const auto posterior = like(xt, kept);
            const auto kl =
                (sigma2 / posterior).log() + (posterior + like(xt, step.mean_x0).square() * error2) / sigma2 - 1;
            return row_sum(at::where(like(xt, s) >= 0, 0.5 * kl, decoded(sigma2)));
        }
        const auto e2 = row_sum(error2).to(at::kDouble), sigma2 = unless_last(fixed_variance(step, variance));
        const auto ratio = kept / sigma2;
        const auto kl = d * (ratio - 1 - ratio.log()) + step.mean_x0.square() * e2 / sigma2;
        // The decoder has the variance of Ho et al.'s code, β̃ of the step before. A density needs e2 alone.
        const auto last = levels_of_data_ == 0 && !reversed_
                              ? 0.5 * (d * (2 * std::numbers::pi * step.decoder).log() + e2 / step.decoder)
                              : row_sum(decoded(like(x0.to(at::kDouble), step.decoder)));
        return at::where(s >= 0, 0.5 * kl, last).to(x0.scalar_type());
    }

    Tensor prior_term(const Tensor& x0) const override {
        const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0)), p2 = prior_sd_ * prior_sd_;
        const auto now = tables();
        const auto a2 = now.alpha[steps_].square() / p2, s2 = now.sigma2[steps_] / p2;
        return (0.5 * (a2 * row_sum(x0.square()).to(at::kDouble) + d * (s2 - 1 - s2.log()))).to(x0.scalar_type());
    }

    std::vector<std::string> variances() const override { return {"small", "large"}; }

    void accept(Predicts kind) const override {
        if (kind == Predicts::eps || kind == Predicts::score) {
            if (levels().alpha_bar(steps_ - 1) == 0)
                throw dtk::Error(
                    "a network that predicts " + std::string(dtk::name_of(kind)) +
                        " says nothing at ᾱ_T = 0, and this schedule ends there",
                    "use prediction = \"v\" or \"x0\", or a schedule that keeps some signal at the last step");
        } else if (kind != Predicts::x0 && kind != Predicts::v && kind != Predicts::mean) {
            throw no_meaning(kind);
        }
    }

 private:
    /// α, σ² and β of every time, [T + 1] float64; entry t + 1 is time t, entry 0 is before the first step.
    struct Tables {
        Tensor alpha, sigma2, beta;
    };
    Tables tables() const {
        if (!learned_) return {*alpha_, *sigma2_, *beta_};
        const auto beta = at::constant_pad_nd(learned_->betas(steps_), {1, 0});
        const auto log_alpha_bar = (-beta).log1p().cumsum(0);
        return {(0.5 * log_alpha_bar).exp(), -log_alpha_bar.expm1(), beta};
    }

    /// What a step t → s needs, [B] float64 each.
    struct Step {
        Tensor posterior, added, mean_x0, mean_xt, decoder, turned_mean, turned_variance;
        Step(const Tables& tables, const Tensor& t, const Tensor& s, std::int64_t steps, double prior2) {
            const auto alpha_t = at(tables.alpha, t), alpha_s = at(tables.alpha, s);
            const auto sigma2_t = at(tables.sigma2, t), sigma2_s = at(tables.sigma2, s);
            const auto ratio = alpha_t / alpha_s;
            added = at::where(s == t - 1, at(tables.beta, t), sigma2_t - ratio.square() * sigma2_s);
            posterior = added * sigma2_s / sigma2_t;
            mean_x0 = alpha_s * added / sigma2_t;
            mean_xt = ratio * sigma2_s / sigma2_t;
            const auto next = (t + 1).clamp_max(static_cast<double>(steps - 1));
            decoder = at(tables.beta, next) *
                      at::where(next > t, sigma2_t / at(tables.sigma2, next), at::ones_like(sigma2_t));
            const auto both = alpha_t.square() * prior2 + sigma2_t;
            turned_mean = alpha_t * prior2 / both;
            turned_variance = prior2 * sigma2_t / both;
        }
    };
    Step step(const Tensor& t, const Tensor& s) const { return {tables(), t, s, steps_, prior_sd_ * prior_sd_}; }

    Tensor fixed_variance(const Step& step, const std::string& variance) const {
        if (variance == "small") return step.posterior;
        if (variance == "large") return step.added;
        throw dtk::Error("a Gaussian process has no reverse variance `" + variance + "`", "use \"small\" or \"large\"");
    }

    /// Of the step, shaped to stand beside x; before the first step there is none.
    Tensor model_variance(const Step& step, const dtk::Prediction& prediction, const Tensor& t,
                          const std::string& variance, const Tensor& x) const {
        if (!prediction.variance) return like(x, fixed_variance(step, variance));
        // log Σ = f·log β + (1 − f)·log β̃ with the f of the one step that the prediction is of
        const auto log = [](const Tensor& v) { return v.clamp_min(1e-300).log(); };
        const auto of_one = this->step(t, t - 1);
        const auto stretch =
            (log(step.added) - log(step.posterior)) / (log(of_one.added) - log(of_one.posterior)).clamp_min(1e-12);
        return (prediction.variance->log() * like(x, stretch) +
                like(x, log(step.posterior) - stretch * log(of_one.posterior)))
            .exp();
    }

    void read_levels(const dtk::Dataset& data, bool needed) {
        if (data.levels() > 1 && data.range()) {
            levels_of_data_ = data.levels();
            range_ = *data.range();
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

    static Tensor at(const Tensor& table, const Tensor& t) { return table.index_select(0, t.to(at::kLong) + 1); }

    /// [B] float64 → [B, 1, …], ready to multiply x
    static Tensor like(const Tensor& x, const Tensor& coefficient) {
        std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
        sizes[0] = -1;
        return coefficient.to(x.scalar_type()).view(sizes);
    }

    static dtk::Error no_meaning(Predicts kind) {
        return dtk::Error(
            "a Gaussian process has no meaning for a prediction of kind " + std::string(dtk::name_of(kind)),
            "use eps, x0, v or score");
    }

    std::int64_t steps_;
    bool reversed_;
    std::shared_ptr<dtk::LearnedSchedule> learned_;  ///< null where the schedule is fixed
    mutable dtk::NoiseLevels levels_;
    Tensor *alpha_ = nullptr, *sigma2_ = nullptr, *beta_ = nullptr;  ///< of a fixed schedule
    double prior_sd_ = 1;
    int levels_of_data_ = 0;  ///< 0: the data are real numbers
    std::pair<double, double> range_;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Process, gaussian, Gaussian, "Gaussian noise added in T steps (Ho et al. 2020)")
