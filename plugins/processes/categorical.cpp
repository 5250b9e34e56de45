// q(x_t | x_0) = ᾱ_t δ(x_0) + (1 − ᾱ_t) π   and, of q(x_t | x_s) = a δ(x_s) + (1 − a) π with a = ᾱ_t/ᾱ_s, for any s < t
//     p(x_s | x_t) = q(x_t | x_s) Σ_{x_0} P(x_0 | x_t) q(x_s | x_0) / q(x_t | x_0),
// each element by itself, which is q(x_s | x_t, x_0) where P is certain. The kernels of Austin et al., "Structured
// Denoising Diffusion Models in Discrete State-Spaces" (D3PM), 2021, app. A.2:
// - uniform: π is even over the K categories;
// - absorbing: π is all on a mask. What is not masked is x_0, and a masked element shows by s with probability
//   (ᾱ_s − ᾱ_t)/(1 − ᾱ_t), then drawn from P; so a network of K log-odds can neither say "masked" nor change what shows
//   (Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (MDLM), 2024, section 3.2.3; Shi et al.,
//   "Simplified and Generalized Masked Diffusion" (MD4), 2024).
//
// In infinitely many steps the bound gains, with β = −ᾱ'/ᾱ and r(j) = q(x_t = j | x_0)/q(x_t | x_0), r̂ its mean under
// P,
//     β π(x_t) Σ_{j ≠ x_t} [ r̂(j) − r(j) + r(j) log r(j)/r̂(j) ]
// (Campbell et al., "A Continuous Time Framework for Discrete Denoising Models", 2022, with the best reverse rate), of
// masked elements −ᾱ'/(1 − ᾱ) · −log P(x_0 | x_t) (MDLM, eq. 10).
#include <cmath>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/categories.hpp>
#include <dtk/learned_schedule.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::Coefficient;
using dtk::PredictionType;
using dtk::Time;

/// The sum over all but the first dimension → [B]
Tensor row_sum(const Tensor& x) { return x.flatten(1).sum(1); }

struct Categorical final : dtk::CategoricalProcess {
    struct Config {
        std::int64_t steps = 1000;
        std::string kernel = "absorbing";
        dtk::Part<dtk::Schedule> schedule{"linear_alpha_bar"};
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::in(1, 1000000), "T, the steps of the Markov chain");
            f("kernel", kernel, {"absorbing", "uniform"},
              "what an element becomes that is not kept: masked, or any category, each as likely");
            f("schedule", schedule, "how noisy each step is: a category is kept with probability ᾱ_t");
        }
    };
    Categorical(const Config& config, const dtk::BuildContext& context) : masks_(config.kernel == "absorbing") {
        const auto space = context.space();
        if (space.levels < 2 || !space.range)
            throw dtk::Error("categorical needs data that come in levels, and these are any numbers",
                             "use data such as latin, text, heartbeat or 8-bit images, or process `gaussian`");
        categories_ = space.levels;
        least_ = space.range->first;
        apart_ = (space.range->second - least_) / static_cast<double>(categories_ - 1);

        const auto schedule = config.schedule.make(context);
        if (std::dynamic_pointer_cast<dtk::LearnedSchedule>(schedule))
            throw dtk::Error("the bound of masked tokens is the same for every schedule, and categorical learns none",
                             "use a fixed schedule, such as linear_alpha_bar");
        levels_ = schedule->levels(config.steps);
        if (!levels_.is_variance_preserving())
            throw dtk::Error("categories need a schedule with α² + σ² = 1, whose ᾱ is the share that is kept",
                             "use a variance-preserving schedule, such as linear_alpha_bar or cosine");
        if (const double left = levels_.alpha_bar(levels_.last()); masks_ && left > 0)
            throw dtk::Error(fmt::format("after the last step a share of {:.3g} is not masked yet, and sampling starts "
                                         "from masks alone: the bound is infinite",
                                         left),
                             "use a schedule that ends without signal: linear_alpha_bar, or zero_terminal_snr around "
                             "another");
    }

    std::int64_t steps() const override { return levels_.steps(); }
    bool whole_steps() const override { return false; }
    const dtk::NoiseLevels& levels() const override { return levels_; }
    std::int64_t categories() const override { return categories_; }
    bool masks() const override { return masks_; }

    Tensor numbers(const Tensor& x) const override { return ((x - least_) / apart_).round().to(at::kLong); }
    Tensor values(const Tensor& numbers, at::ScalarType type) const override {
        return (numbers.to(at::kDouble) * apart_ + least_).to(type);
    }

    Coefficient evidence(const Time& t) const override {
        return t.map([&](double t) {
            return masks_ ? INFINITY : std::log1p(static_cast<double>(categories_) * levels_.snr(t));
        });
    }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double) const override {
        if (masks_) return at::full(sizes, mask(), options);
        return values(any(random.uniform(sizes, options.dtype(at::kDouble))),
                      c10::typeMetaToScalarType(options.dtype()));
    }

    /// u ~ U[0, 1) in float64: kept where u < ᾱ_t, and where in [ᾱ_t, 1) it lies says what else it becomes.
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return random.uniform(sizes, options.dtype(at::kDouble));
    }

    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        const auto kept = this->kept(t).beside(noise);
        if (masks_) return at::where(noise < kept, x0, mask()).to(x0.scalar_type());
        const auto other = values(any((noise - kept) / anew(t).beside(noise)), x0.scalar_type());
        return at::where(noise < kept, x0, other);
    }

    Tensor target(PredictionType type, const Tensor&, const dtk::NoisySample&, const Time&) const override {
        accept(type);
        throw dtk::Error("the log-odds of a category that is known are infinite, so there is no distance to them",
                         "use loss `continuous_elbo` or `elbo`");
    }

    /// As `x0` the likeliest category of each element.
    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt, const Time&) const override {
        if (prediction.type == to) return prediction.value;
        if (to != PredictionType::x0) throw no_meaning(to);
        return values(log_clean(prediction, xt).argmax(-1), xt.scalar_type());
    }

    Tensor log_clean(const dtk::Prediction& prediction, const Tensor& xt) const override {
        accept(prediction.type);
        const auto of_network = prediction.value.to(at::kDouble).log_softmax(-1);
        if (!masks_) return of_network;
        const auto number = numbers(xt).unsqueeze(-1);
        return at::where(number == categories_, of_network, one_hot(number).log());
    }

    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string&, const dtk::Random& random) const override {
        const auto u = random.uniform(xt.sizes(), xt.options().dtype(at::kDouble));
        const auto drawn = dtk::category_at(step(xt, log_clean(prediction, xt).exp(), t, s), u);
        return values(drawn, xt.scalar_type());
    }

    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string&) const override {
        const auto log_clean = this->log_clean(prediction, xt);
        const auto surprise = this->surprise(x0, log_clean);
        if (masks_) return row_sum(shown(t, s).beside(surprise) * surprise).to(x0.scalar_type());
        // Of clean data q(x_s | x_t, x_0) is x_0 itself, and KL is −log P(x_0 | x_t).
        const auto q = step(xt, one_hot(numbers(x0).unsqueeze(-1)), t, s), p = step(xt, log_clean.exp(), t, s);
        const auto kl = (at::xlogy(q, q) - q * p.clamp_min(least_probability).log()).sum(-1);
        const auto last = s.map([](double s) { return s <= -1 ? 1.0 : 0.0; }).beside(kl) > 0;
        return row_sum(at::where(last, surprise, kl)).to(x0.scalar_type());
    }

    Tensor bound_rate(const Tensor& x0, const Tensor& xt, const Time& t,
                      const dtk::Prediction& prediction) const override {
        const auto log_clean = this->log_clean(prediction, xt);
        // −ᾱ'/(1 − ᾱ) = 2σ'/σ
        const auto per_noise = t.map([&](double t) { return 2 * levels_.rates(t).sigma / levels_.sigma(t); });
        if (masks_) {
            const auto surprise = this->surprise(x0, log_clean);
            return row_sum(per_noise.beside(surprise) * surprise).to(x0.scalar_type());
        }
        const auto seen = one_hot(numbers(xt).unsqueeze(-1)), clean = one_hot(numbers(x0).unsqueeze(-1));
        const auto r = ratio(clean, seen, t), mean_r = ratio(log_clean.exp(), seen, t);
        const auto gain = (1 - seen) * (mean_r - r + at::xlogy(r, r) - r * mean_r.log());
        // β π = −ᾱ'/(1 − ᾱ) · (1 − ᾱ)/ᾱ / K
        const auto rate = per_noise * t.map([&](double t) {
            return levels_.alpha_bar(t) > 0 ? 1 / (levels_.snr(t) * static_cast<double>(categories_)) : 0;
        });
        return row_sum(rate.beside(gain) * gain).to(x0.scalar_type());
    }

    Tensor prior_term(const Tensor& x0) const override {
        if (masks_) return at::zeros({x0.size(0)}, x0.options());
        const double K = static_cast<double>(categories_), left = levels_.alpha_bar(levels_.last()),
                     other = (1 - left) / K, own = left + other;
        const double nats = own * std::log(K * own) + (K - 1) * other * std::log(K * other);
        return at::full({x0.size(0)}, nats * static_cast<double>(x0[0].numel()), x0.options());
    }

    /// The law of a category follows from P(x_0 | x_t): there is one choice.
    std::vector<std::string> variances() const override { return {"small"}; }

    void accept(PredictionType type) const override {
        if (type != PredictionType::logits) throw no_meaning(type);
    }

 private:
    static constexpr double least_probability = 1e-300;  // ∞ has no gradient

    double mask() const { return least_ + apart_ * static_cast<double>(categories_); }

    /// Any category, each as likely, where u is U[0, 1).
    Tensor any(const Tensor& u) const {
        return (u * static_cast<double>(categories_)).clamp_(0, static_cast<double>(categories_ - 1)).to(at::kLong);
    }

    /// 1 in the place of each category: [..., 1] int64 → [..., K] float64, nothing where it is masked
    Tensor one_hot(const Tensor& numbers) const {
        return (numbers == at::arange(categories_, numbers.options())).to(at::kDouble);
    }

    /// −log P(x_0 | x_t) of each element, 0 where it shows already. → as x_0, float64
    Tensor surprise(const Tensor& x0, const Tensor& log_clean) const {
        return -log_clean.gather(-1, numbers(x0).unsqueeze(-1)).squeeze(-1);
    }

    /// Σ_{x_0} P(x_0) q(x_t = j | x_0)/q(x_t | x_0) of uniform noise, for every j. P, seen: [B, ..., K]
    Tensor ratio(const Tensor& clean, const Tensor& seen, const Time& t) const {
        return kept_and_renewed(clean / renewed(seen, kept(t), anew(t)), t);
    }
    /// ᾱ_t w(j) + (1 − ᾱ_t)/K Σ w
    Tensor kept_and_renewed(const Tensor& w, const Time& t) const {
        return kept(t).beside(w) * w + anew(t).beside(w) / static_cast<double>(categories_) * w.sum(-1, true);
    }
    /// kept·δ + (1 − kept)/K
    Tensor renewed(const Tensor& one_hot, const Coefficient& kept, const Coefficient& anew) const {
        return kept.beside(one_hot) * one_hot + anew.beside(one_hot) / static_cast<double>(categories_);
    }

    /// p(x_s | x_t) of each state where P(x_0 | x_t) is `clean`: [B, ..., K] → [B, ..., states]
    Tensor step(const Tensor& xt, const Tensor& clean, const Time& t, const Time& s) const {
        const auto number = numbers(xt).unsqueeze(-1);
        if (masks_) {
            const auto masked = (number == categories_).to(at::kDouble), shows = shown(t, s).beside(masked);
            return at::cat({clean * (1 - masked * (1 - shows)), masked * (1 - shows)}, -1);
        }
        const auto seen = one_hot(number);
        const auto between = renewed(seen, kept(t) / kept(s), added(t, s));  // q(x_t | x_s)
        return between * kept_and_renewed(clean / renewed(seen, kept(t), anew(t)), s);
    }

    /// ᾱ_t, 1 − ᾱ_t, 1 − ᾱ_t/ᾱ_s, and the share of what is masked at t that shows at s
    Coefficient kept(const Time& t) const {
        return t.map([&](double t) { return levels_.alpha_bar(t); });
    }
    Coefficient anew(const Time& t) const {
        return t.map([&](double t) { return levels_.sigma2(t); });
    }
    Coefficient added(const Time& t, const Time& s) const {
        return t.map(s, [&](double t, double s) { return levels_.added_variance(t, s); });
    }
    Coefficient shown(const Time& t, const Time& s) const { return added(t, s) * kept(s) / anew(t); }

    static dtk::Error no_meaning(PredictionType type) {
        return dtk::Error(
            fmt::format("a process of categories has no meaning for a prediction of kind {}", dtk::name_of(type)),
            "use a model that predicts logits, such as dit with prediction = \"logits\"");
    }

    dtk::NoiseLevels levels_;
    std::int64_t categories_ = 0;
    double least_ = 0, apart_ = 1;
    bool masks_;
};
}  // namespace

DTK_PLUGIN(
    Process, categorical, Categorical,
    "categories that are masked or drawn anew (Austin et al. 2021, Sahoo et al. 2024); elsewhere: d3pm, mdlm, md4")
