// q(x_t | x_0) = N(α_t x_0, σ_t² I),   p(x_T) = N(0, I),   q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃ I)
// Sohl-Dickstein et al. 2015; Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, eqs. 4–7, written for
// any s < t (Song, Meng & Ermon 2020) and any α, σ (Kingma et al., "Variational Diffusion Models", 2021).
#include <cmath>
#include <numbers>

#include <dtk/dataset.hpp>
#include <dtk/process.hpp>
#include <dtk/schedule.hpp>
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
            f("decoder", decoder, {"auto", "gaussian", "discretised"}, "p(x_0 | x_1): a density, or the probability of x_0's bin; auto: of its bin where the data come in levels");
        }
    };
    Gaussian(const Config& config, const dtk::View& view) : levels_(config.schedule.make(view)->levels(config.steps)) {
        if (config.decoder != "gaussian") read_levels(view.dataset(), config.decoder == "discretised");
        const auto T = config.steps;
        const auto table = [&](auto value) {  // entry t + 1 is time t; entry 0 is before the first step
            std::vector<double> column;
            for (std::int64_t t = -1; t < T; ++t) column.push_back(value(t));
            return at::tensor(column, at::kDouble);
        };
        alpha_ = &constant("alpha", table([&](auto t) { return levels_.alpha(t); }));
        sigma2_ = &constant("sigma2", table([&](auto t) { return levels_.sigma2(t); }));
        beta_ = &constant("beta", table([&](auto t) { return t < 0 ? 0 : levels_.added_variance(t, t - 1); }));
        const double last = levels_.alpha_bar(T - 1) + levels_.sigma2(T - 1);
        prior_sd_ = std::abs(last - 1) < 1e-6 ? 1 : levels_.sigma(T - 1);
    }

    std::int64_t steps() const override { return levels_.steps(); }
    const dtk::NoiseLevels& levels() const override { return levels_; }

    Tensor alpha(const Tensor& t, const Tensor& x) const override { return like(x, at(*alpha_, t)); }
    Tensor sigma(const Tensor& t, const Tensor& x) const override { return like(x, at(*sigma2_, t).sqrt()); }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return random.normal(sizes, options) * prior_sd_;
    }

    dtk::Noised noised(const Tensor& x0, const Tensor& t, const dtk::Random& random) const override {
        const auto eps = random.normal(x0.sizes(), x0.options());
        return {alpha(t, x0) * x0 + sigma(t, x0) * eps, eps};
    }

    Tensor target(Predicts kind, const Tensor& x0, const dtk::Noised& xt, const Tensor& t) const override {
        switch (kind) {
            case Predicts::eps: return xt.noise;
            case Predicts::x0: return x0;
            case Predicts::v: return alpha(t, x0) * xt.noise - sigma(t, x0) * x0;
            case Predicts::score: return -xt.noise / sigma(t, x0);
            default: throw no_meaning(kind);
        }
    }

    Tensor convert(const dtk::Prediction& prediction, Predicts to, const Tensor& xt, const Tensor& t) const override {
        const auto& value = prediction.value;
        if (prediction.kind == to) return value;
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
        throw no_meaning(prediction.kind == Predicts::eps || prediction.kind == Predicts::x0 || prediction.kind == Predicts::v ? to : prediction.kind);
    }

    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Tensor& t, const Tensor& s,
                        const std::string& variance, const dtk::Random& random) const override {
        const Step step(*this, t, s);
        const auto x0 = convert(prediction, Predicts::x0, xt, t);
        const auto mean = like(xt, step.mean_x0) * x0 + like(xt, step.mean_xt) * xt;
        const auto noise = like(xt, (s >= 0).to(at::kDouble)) * random.normal(xt.sizes(), xt.options());
        return mean + model_variance(step, prediction, variance, xt).sqrt() * noise;
    }

    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Tensor& t, const Tensor& s, const dtk::Prediction& prediction,
                      const std::string& variance) const override {
        const Step step(*this, t, s);
        const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0));
        const auto estimate = convert(prediction, Predicts::x0, xt, t);
        const auto error2 = (x0 - estimate).square();
        // No branch may divide by zero where the other one is taken: the gradient would be 0·∞.
        const auto unless_last = [&](const Tensor& value) { return at::where(s >= 0, value, at::ones_like(value)); };
        const auto kept = unless_last(step.posterior);
        if (prediction.variance) {  // a variance for every element
            const auto sigma2 = model_variance(step, prediction, variance, xt).expand_as(x0);
            const auto posterior = like(xt, kept);
            const auto kl = (sigma2 / posterior).log() + (posterior + like(xt, step.mean_x0).square() * error2) / sigma2 - 1;
            return row_sum(at::where(like(xt, s) >= 0, 0.5 * kl, decoder(x0, estimate, sigma2)));
        }
        const auto e2 = row_sum(error2).to(at::kDouble), sigma2 = unless_last(fixed_variance(step, variance));
        const auto ratio = kept / sigma2;
        const auto kl = d * (ratio - 1 - ratio.log()) + step.mean_x0.square() * e2 / sigma2;
        // The decoder has the variance of Ho et al.'s code, β̃ of the step before. A density needs e2 alone.
        const auto last = levels_of_data_ == 0 ? 0.5 * (d * (2 * std::numbers::pi * step.decoder).log() + e2 / step.decoder)
                                               : row_sum(decoder(x0, estimate, like(x0.to(at::kDouble), step.decoder)));
        return at::where(s >= 0, 0.5 * kl, last).to(x0.scalar_type());
    }

    Tensor prior_term(const Tensor& x0) const override {
        const auto T = steps() - 1;
        const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0));
        const double p2 = prior_sd_ * prior_sd_, s2 = levels_.sigma2(T) / p2;
        return 0.5 * (levels_.alpha_bar(T) / p2 * row_sum(x0.square()) + d * (s2 - 1 - std::log(s2)));
    }

    std::vector<std::string> variances() const override { return {"small", "large"}; }

    void accept(Predicts kind) const override {
        if (kind == Predicts::eps || kind == Predicts::score) {
            if (levels_.alpha_bar(steps() - 1) == 0)
                throw dtk::Error("a network that predicts " + std::string(dtk::name_of(kind)) +
                                     " says nothing at ᾱ_T = 0, and this schedule ends there",
                                 "use prediction = \"v\" or \"x0\", or a schedule that keeps some signal at the last step");
        } else if (kind != Predicts::x0 && kind != Predicts::v) {
            throw no_meaning(kind);
        }
    }

 private:
    /// What a step t → s needs, [B] float64 each.
    struct Step {
        Tensor posterior, added, mean_x0, mean_xt, decoder;
        Step(const Gaussian& p, const Tensor& t, const Tensor& s) {
            const auto alpha_t = p.at(*p.alpha_, t), alpha_s = p.at(*p.alpha_, s);
            const auto sigma2_t = p.at(*p.sigma2_, t), sigma2_s = p.at(*p.sigma2_, s);
            const auto ratio = alpha_t / alpha_s;
            added = at::where(s == t - 1, p.at(*p.beta_, t), sigma2_t - ratio.square() * sigma2_s);
            posterior = added * sigma2_s / sigma2_t;
            mean_x0 = alpha_s * added / sigma2_t;
            mean_xt = ratio * sigma2_s / sigma2_t;
            const auto next = (t + 1).clamp_max(static_cast<double>(p.steps() - 1));
            decoder = p.at(*p.beta_, next) * at::where(next > t, sigma2_t / p.at(*p.sigma2_, next), at::ones_like(sigma2_t));
        }
    };

    Tensor fixed_variance(const Step& step, const std::string& variance) const {
        if (variance == "small") return step.posterior;
        if (variance == "large") return step.added;
        throw dtk::Error("a Gaussian process has no reverse variance `" + variance + "`", "use \"small\" or \"large\"");
    }

    Tensor model_variance(const Step& step, const dtk::Prediction& prediction, const std::string& variance, const Tensor& x) const {
        return prediction.variance ? *prediction.variance : like(x, fixed_variance(step, variance));
    }

    void read_levels(const dtk::Dataset& data, bool needed) {
        if (data.levels() > 1 && data.range()) {
            levels_of_data_ = data.levels();
            range_ = *data.range();
        } else if (needed) {
            throw dtk::Error("decoder = \"discretised\" needs data that come in levels, such as 8-bit images", "leave it \"auto\"");
        }
    }

    /// −log p(x_0 | x_1) of every element: a normal density around x̂_0 or, where the data come in levels, its integral over the
    /// level's bin, the outermost bins without end (Ho et al. 2020, eq. 13).
    Tensor decoder(const Tensor& x0, const Tensor& estimate, const Tensor& sigma2) const {
        if (levels_of_data_ == 0) return 0.5 * ((2 * std::numbers::pi * sigma2).log() + (x0 - estimate).square() / sigma2);
        constexpr double endless = 1e4;  // standard deviations; ∞ has no gradient
        const auto [least, most] = range_;
        const double half = 0.5 * (most - least) / (levels_of_data_ - 1);
        const auto x = x0.to(at::kDouble), error = x - estimate.to(at::kDouble), sigma = sigma2.to(at::kDouble).sqrt();
        const auto above = at::where(x > most - half, endless, (error + half) / sigma);
        const auto below = at::where(x < least + half, -endless, (error - half) / sigma);
        // Φ(b) − Φ(a) = Φ(−a) − Φ(−b): of the two the one in the lower tail, where log Φ is precise.
        const auto mirrored = error > 0;
        const auto a = at::special_log_ndtr(at::where(mirrored, -above, below)), b = at::special_log_ndtr(at::where(mirrored, -below, above));
        return -(b + at::log1p(-(a - b).exp()));
    }

    static Tensor at(const Tensor& table, const Tensor& t) { return table.index_select(0, t.to(at::kLong) + 1); }

    /// [B] float64 → [B, 1, …], ready to multiply x
    static Tensor like(const Tensor& x, const Tensor& coefficient) {
        std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
        sizes[0] = -1;
        return coefficient.to(x.scalar_type()).view(sizes);
    }

    static dtk::Error no_meaning(Predicts kind) {
        return dtk::Error("a Gaussian process has no meaning for a prediction of kind " + std::string(dtk::name_of(kind)), "use eps, x0, v or score");
    }

    dtk::NoiseLevels levels_;
    Tensor *alpha_, *sigma2_, *beta_;
    double prior_sd_;
    int levels_of_data_ = 0;  ///< 0: the data are real numbers
    std::pair<double, double> range_;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Process, gaussian, Gaussian, "Gaussian noise added in T steps (Ho et al. 2020)")
