// x̂_0 = E[x_0 | x_t], from the density of the data where it is known; otherwise from the examples themselves:
//     x̂_0 = Σ_i w_i x_i,   w = softmax_i(−‖x_t − α x_i‖² / 2σ²)
// The network that training would end with: Karras et al., "Elucidating the Design Space", 2022, app. B.3.
// Of bits, x̂_0 = P(x_0 = 1 | x_t): where x_t has the log-likelihood ratio λ for a bit of x_0, a normal observation of
// that bit at α = σ = 1 has it at λ + ½, so that what is known for Gaussian noise answers for bits too. Of rotations, ε̂
// = −σ_t ∇ log q(x_t), from a density that knows its score under their noise.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/bernoulli.hpp>
#include <dtk/categories.hpp>
#include <dtk/dataset.hpp>
#include <dtk/densities.hpp>
#include <dtk/model.hpp>
#include <dtk/rotations.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct Exact final : dtk::Model {
    struct Config {
        std::string prediction = "x0";
        std::int64_t limit = 0;
        bool conditional = false;
        void fields(dtk::Fields& f) {
            f("prediction", prediction, {"x0", "eps", "v", "velocity", "edm", "logits"}, "what it answers");
            f("limit", limit, dtk::at_least(0),
              "know this many training examples and no density; 0: the density, or all");
            f("conditional", conditional, "is it told the class? Where it is not told, it answers for all of them");
        }
    };
    Exact(const Config& config, const dtk::BuildContext& context)
        : predicts_(dtk::prediction_type(config.prediction)),
          data_(context.chain_data()),
          bits_(dynamic_cast<const dtk::BernoulliProcess*>(&context.process())),
          rotations_(dynamic_cast<const dtk::RotationProcess*>(&context.process())),
          tokens_(dynamic_cast<const dtk::CategoricalProcess*>(&context.process())) {
        if (config.conditional) read_classes(config, context);
        if (tokens_) {
            const auto* law = dynamic_cast<const dtk::FiniteDensity*>(data_.density());
            if (!law || config.limit > 0)
                throw dtk::Error("of categories, exact knows laws of finitely many vectors alone",
                                 "use data such as latin or heartbeat, without `limit`");
            if (predicts_ != dtk::PredictionType::logits)
                throw dtk::Error("what is known of categories are their probabilities", "use prediction = \"logits\"");
            const auto atoms = one_hot(tokens_->numbers(law->atoms()));
            atoms_ = &constant("atoms", atoms.flatten(1));
            log_weights_ = &constant("log_weights", law->log_weights());
            return;
        }
        if (rotations_) {
            rotation_density_ = dynamic_cast<const dtk::RotationDensity*>(data_.density());
            if (!rotation_density_ || config.limit > 0)
                throw dtk::Error("of rotations, exact knows the score of their density alone",
                                 "use data such as rotation_mixture, without `limit`");
            if (predicts_ != dtk::PredictionType::eps)
                throw dtk::Error("what is known of rotations is their score", "use prediction = \"eps\"");
            return;
        }
        if (predicts_ == dtk::PredictionType::logits)
            throw dtk::Error("what is known here is x_0 itself, not the log-odds of categories",
                             "use prediction = \"x0\"");
        if (!bits_) gaussian_ = &dtk::gaussian(context.process(), "exact");
        const auto size = data_.size();
        if (config.limit == 0) density_ = data_.density();
        if (!density_ && size == 0 && config.limit == 0)
            throw dtk::Error("exact needs data whose density is known, or examples that end",
                             "set `limit`, or use another model or data set");
        if (size > 0 && config.limit > size)
            throw dtk::Error(fmt::format("`limit` = {} is more than the {} training examples", config.limit, size),
                             "lower it");
        count_ = config.limit > 0 ? config.limit : size;
        mean_ = &constant("mean", at::empty({0}));
        examples_ = &constant("examples", at::empty({0}));
        norms_ = &constant("norms", at::empty({0}));
    }

    dtk::PredictionType predicts() const override { return predicts_; }
    bool knows_null_condition() const override { return !of_class_.empty(); }

    dtk::Prediction forward(const Tensor& xt, const dtk::Time& t, const dtk::Condition& condition) override {
        if (tokens_) return {predicts_, log_probability(xt, t).to(xt.scalar_type()), {}};
        if (rotations_) {
            const auto sigma = rotations_->sigma(t).rows(xt);
            const auto score = rotation_density_->score(xt.reshape({-1, 3, 3}), sigma);
            return {predicts_, dtk::hat(-sigma.unsqueeze(1) * score).to(xt.scalar_type()).view_as(xt), {}};
        }
        // A density is cheap, so float64 whatever the state; thousands of images are not.
        const auto state = xt.flatten(1).to(density_ || xt.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
        const auto [x, alpha, sigma] = observed(state, t);
        const auto clean = sigma == 0, silent = alpha == 0;  // x_t is α x_0; x_t says nothing of x_0
        const auto s = sigma.masked_fill(clean, 1);
        const auto noisy = !of_class_.empty() ? told(condition, x, alpha.flatten(), s.flatten())
                           : density_         ? density_->posterior_mean(x, alpha.flatten(), s.flatten())
                                              : empirical(x, alpha, s);
        const auto x0 = at::where(clean, x / alpha.masked_fill(silent, 1), noisy);
        return {predicts_, answer(x, x0, alpha, sigma, s, t).to(xt.scalar_type()).view_as(xt), {}};
    }

 private:
    void read_classes(const Config& config, const dtk::BuildContext& context) {
        const auto* laws = dynamic_cast<const dtk::ClassDensities*>(data_.density());
        if (context.space().classes == 0 || !laws || config.limit > 0)
            throw dtk::Error("`conditional` needs data whose classes have a known law each",
                             "use conditional = false, or data such as gaussian_mixture with labels = true");
        for (std::int64_t k = 0; k < context.space().classes; ++k) of_class_.push_back(laws->of_class(k));
    }

    /// By the law of each row's class; by that of all of them where a row is not told its class.
    Tensor told(const dtk::Condition& condition, const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        if (!condition.label.defined())
            throw dtk::Error("a denoiser conditioned on classes was given no labels",
                             "give it labels, or set conditional = false");
        auto x0 = at::empty_like(x);
        for (std::size_t k = 0; k < of_class_.size(); ++k) {
            const auto of_k = (condition.label == static_cast<std::int64_t>(k)).unsqueeze(1);
            x0 = at::where(of_k, of_class_[k]->posterior_mean(x, alpha, sigma), x0);
        }
        if (!condition.given.defined()) return x0;
        return at::where(condition.given.unsqueeze(1), x0, density_->posterior_mean(x, alpha, sigma));
    }

    /// [..., L] int64 → [..., L, K] float64, nothing where it is masked
    Tensor one_hot(const Tensor& numbers) const {
        return (numbers.unsqueeze(-1) == at::arange(tokens_->categories(), numbers.options())).to(at::kDouble);
    }

    /// log P(x_0 = k | x_t) of each element: [B, ..., K] float64
    Tensor log_probability(const Tensor& xt, const dtk::Time& t) const {
        constexpr double certain = 1e3;  // e^−1000 is 0
        const auto seen = one_hot(tokens_->numbers(xt));
        const auto strength = tokens_->evidence(t).rows(xt).clamp_max(certain).unsqueeze(1);
        const auto of_atoms = (strength * seen.flatten(1).matmul(atoms_->t()) + *log_weights_).softmax(1);
        return of_atoms.matmul(*atoms_).view_as(seen).log();
    }

    /// x = α x_0 + σ ε, which says of x_0 what x_t says.
    struct Observed {
        Tensor x, alpha, sigma;
    };
    Observed observed(const Tensor& xt, const dtk::Time& t) const {
        if (gaussian_) {
            const auto column = [&](const dtk::Coefficient& c) { return c.rows(xt).to(xt.scalar_type()).unsqueeze(1); };
            return {xt, column(gaussian_->alpha(t)), column(gaussian_->sigma(t))};
        }
        const auto one = at::ones({xt.size(0), 1}, xt.options());
        return {bits_->evidence(xt, t) + 0.5, one, one};
    }

    Tensor answer(const Tensor& x, const Tensor& x0, const Tensor& alpha, const Tensor& sigma, const Tensor& s,
                  const dtk::Time& t) const {
        if (predicts_ == dtk::PredictionType::x0) return x0;
        if (predicts_ == dtk::PredictionType::velocity || predicts_ == dtk::PredictionType::edm)
            return gaussian_->convert({dtk::PredictionType::x0, x0, {}}, predicts_, x, t);
        const auto eps = (x - alpha * x0) / s;
        return predicts_ == dtk::PredictionType::eps ? eps : alpha * eps - sigma * x0;
    }

    /// Σ_i w_i x_i, block by block with a running maximum. With m the mean of the data and up to what all i share,
    ///     −‖x − αx_i‖²/2σ² = (α (x − αm)·x_i − ½α² ‖x_i − m‖²) / σ²,
    /// a smaller difference of large numbers than without m.
    Tensor empirical(const Tensor& x, const Tensor& alpha, const Tensor& sigma) {
        if (examples_->numel() == 0) load(x.device());
        const auto block = std::clamp<std::int64_t>((std::int64_t{1} << 24) / x.size(0), 64, 8192);
        const auto seen = alpha * (x - alpha * *mean_) / sigma.square();
        const auto spread = -0.5 * (alpha / sigma).square();

        auto greatest = at::full({x.size(0), 1}, -INFINITY, x.options());
        auto total = at::zeros_like(greatest), sum = at::zeros_like(x);
        for (std::int64_t i = 0; i < count_; i += block) {
            const auto xi = examples_->slice(0, i, std::min(i + block, count_)).to(x.scalar_type());
            const auto norm = norms_->slice(0, i, std::min(i + block, count_)).to(x.scalar_type());
            const auto logit = at::mm(seen, xi.t()) + spread * norm;
            const auto top = at::maximum(greatest, logit.amax(1, true));
            const auto w = (logit - top).exp(), shrink = (greatest - top).exp();
            total = total * shrink + w.sum(1, true);
            sum = sum * shrink + at::mm(w, xi);
            greatest = top;
        }
        return sum / total;
    }

    void load(at::Device device) {
        constexpr std::int64_t block = 4096;
        const auto d = data_.examples(at::zeros({1}, at::kLong)).x.numel();
        const auto x = at::empty({count_, d}), norms = at::empty({count_}, at::kDouble);
        for (std::int64_t i = 0; i < count_; i += block) {
            const auto index = at::arange(i, std::min(i + block, count_));
            x.slice(0, i, i + index.size(0)).copy_(data_.examples(index).x.flatten(1));
        }
        const auto mean = x.mean(0, false, at::kDouble).to(at::kFloat);
        for (std::int64_t i = 0; i < count_; i += block)
            norms.slice(0, i, std::min(i + block, count_))
                .copy_((x.slice(0, i, i + block).to(at::kDouble) - mean).square().sum(1));
        *mean_ = mean.to(device);
        *norms_ = norms.to(device);
        *examples_ = x.to(device);
    }

    dtk::PredictionType predicts_;
    const dtk::Dataset& data_;
    const dtk::BernoulliProcess* bits_;
    const dtk::RotationProcess* rotations_;
    const dtk::CategoricalProcess* tokens_;
    Tensor *atoms_ = nullptr, *log_weights_ = nullptr;
    const dtk::RotationDensity* rotation_density_ = nullptr;
    const dtk::GaussianProcess* gaussian_ = nullptr;
    const dtk::Density* density_ = nullptr;
    std::vector<std::shared_ptr<const dtk::Density>> of_class_;  ///< where it is told the class
    std::int64_t count_ = 0;
    Tensor *mean_ = nullptr, *examples_ = nullptr, *norms_ = nullptr;
};
}  // namespace

DTK_PLUGIN(Model, exact, Exact, "the exact denoiser, from the density of the data or from all examples")
