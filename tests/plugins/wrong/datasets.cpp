// Data sets that do wrong on purpose; each names the law that it breaks as its summary.
#include <atomic>
#include <cmath>
#include <numbers>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>

namespace {

using at::Tensor;

/// N(0, I) in the plane, which is what the others do wrong.
struct Right : dtk::Dataset {
    explicit Right(const dtk::BuildContext& context) : random_(context.random("dataset")) {}
    std::vector<std::int64_t> shape() const override { return {2}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override { return drawn("train", index); }
    dtk::Batch test_examples(const Tensor& index) const override { return drawn("test", index); }
    dtk::Batch drawn(const char* stream, const Tensor& index) const {
        return {.x = random_.stream(stream).samples(index).normal({index.numel(), 2}, at::kFloat)};
    }
    dtk::Random random_;
};

struct RightDensity : dtk::Density {
    Tensor log_prob(const Tensor& x) const override {
        return -0.5 * x.square().sum(1) - std::log(2 * std::numbers::pi);
    }
    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        const auto a = alpha.unsqueeze(1).to(x.options()), s = sigma.unsqueeze(1).to(x.options());
        return a * x / (a.square() + s.square());
    }
    Tensor posterior_variance(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        const auto a = alpha.unsqueeze(1).to(x.options()), s = sigma.unsqueeze(1).to(x.options());
        return (s.square() / (a.square() + s.square())).expand_as(x);
    }
    double entropy() const override { return 1 + std::log(2 * std::numbers::pi); }
    double log_prob_sd() const override { return 1; }
};

template <class Law>
struct WithDensity : Right {
    using Right::Right;
    const dtk::Density* density() const override { return &law_; }
    Law law_;
};

/// Mean 0 and variance 1, of the batch.
struct OfItsBatch final : Right {
    using Right::Right;
    dtk::Batch examples(const Tensor& index) const override {
        auto batch = Right::examples(index);
        batch.x = batch.x - batch.x.mean(0);
        return batch;
    }
};

/// Half of an element exists.
struct HalfThere final : Right {
    using Right::Right;
    dtk::Batch examples(const Tensor& index) const override {
        auto batch = Right::examples(index);
        batch.condition.mask = at::full_like(batch.x, 0.5);
        return batch;
    }
};

/// Numbers that belong to places in the batch.
struct OfItsPlace final : Right {
    using Right::Right;
    dtk::Batch examples(const Tensor& index) const override {
        return {.x = random_.stream("train").normal({index.numel(), 2}, at::kFloat)};
    }
};

/// One stream for both.
struct Leaks final : Right {
    using Right::Right;
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
};

/// Augmented, for training alone.
struct Augmented final : Right {
    using Right::Right;
    dtk::Batch examples(const Tensor& index) const override {
        auto batch = Right::examples(index);
        batch.x = batch.x * (1 + 0.3 * random_.stream("scale").samples(index).uniform({index.numel(), 1}, at::kFloat));
        return batch;
    }
};

struct Wide final : Right {
    using Right::Right;
    dtk::Batch examples(const Tensor& index) const override { return {.x = Right::examples(index).x.to(at::kDouble)}; }
};

/// Classes 1, 2 and 3, as some files have them.
struct FromOne final : Right {
    using Right::Right;
    std::int64_t classes() const override { return 3; }
    dtk::Batch examples(const Tensor& index) const override {
        auto batch = Right::examples(index);
        batch.condition.label = 1 + index.remainder(3);
        return batch;
    }
};

/// Bytes over 128, not over 127.5.
struct OffLevels final : Right {
    using Right::Right;
    dtk::Batch examples(const Tensor& index) const override {
        return {.x = random_.samples(index).integers(256, {index.numel(), 2}).to(at::kFloat) / 128 - 1};
    }
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index + 1'000'000); }
    std::optional<std::pair<double, double>> range() const override { return std::pair{-1.0, 1.0}; }
    int levels() const override { return 256; }
};

/// Example 100 of 100 is example 0.
struct GoesRound final : Right {
    using Right::Right;
    std::int64_t size() const override { return 100; }
    dtk::Batch examples(const Tensor& index) const override { return Right::examples(index.remainder(100)); }
};

/// Whose numbers depend on the thread that asks.
struct OfItsThread final : Right {
    using Right::Right;
    dtk::Batch examples(const Tensor& index) const override {
        static std::atomic<int> threads = 0;
        thread_local const int number = threads++;
        return {.x = random_.stream("train").step(number).samples(index).normal({index.numel(), 2}, at::kFloat)};
    }
};

/// Numbers of a seed of its own.
struct OwnSeed final : Right {
    explicit OwnSeed(const dtk::BuildContext& context) : Right(context) { random_ = dtk::Random(42, "mine"); }
};

struct InBits final : RightDensity {
    double entropy() const override { return RightDensity::entropy() / std::numbers::ln2; }
    double log_prob_sd() const override { return 1 / std::numbers::ln2; }
};

/// Without the constant, in log p and in the entropy.
struct Unnormalised final : RightDensity {
    Tensor log_prob(const Tensor& x) const override { return -0.5 * x.square().sum(1); }
    double entropy() const override { return 1; }
};

/// σ for σ².
struct SigmaForSquare final : RightDensity {
    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        const auto a = alpha.unsqueeze(1).to(x.options()), s = sigma.unsqueeze(1).to(x.options());
        return a * x / (a.square() + s);
    }
};

/// Without α in front.
struct NoAlpha final : RightDensity {
    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        return RightDensity::posterior_mean(x, alpha, sigma) / alpha.unsqueeze(1).to(x.options());
    }
};

/// Var[ε | x_t] for Var[x_0 | x_t].
struct OfNoise final : RightDensity {
    Tensor posterior_variance(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        return 1 - RightDensity::posterior_variance(x, alpha, sigma);
    }
};

/// Answers in float64, whatever it is asked in.
struct AlwaysDouble final : RightDensity {
    Tensor log_prob(const Tensor& x) const override { return RightDensity::log_prob(x.to(at::kDouble)); }
};

/// Half planes, said to be of other weights.
struct Unfair final : RightDensity {
    std::vector<double> mode_weights() const override { return {0.4, 0.6}; }
    Tensor nearest_mode(const Tensor& x) const override { return (x.select(1, 0) > 0).to(at::kLong); }
};

/// p(x | y) as if y had no error.
struct Sure final : RightDensity {
    std::shared_ptr<dtk::Density> given(const Tensor&, const Tensor&, double) const override {
        return std::make_shared<Sure>();
    }
};

using InBitsData = WithDensity<InBits>;
using UnnormalisedData = WithDensity<Unnormalised>;
using SigmaForSquareData = WithDensity<SigmaForSquare>;
using NoAlphaData = WithDensity<NoAlpha>;
using OfNoiseData = WithDensity<OfNoise>;
using AlwaysDoubleData = WithDensity<AlwaysDouble>;
using UnfairData = WithDensity<Unfair>;
using SureData = WithDensity<Sure>;

}  // namespace

DTK_PLUGIN(Dataset, of_its_batch, OfItsBatch,
           "an example depends on its number alone, not on batch, order or what was asked before")
DTK_PLUGIN(Dataset, of_its_place, OfItsPlace,
           "an example depends on its number alone, not on batch, order or what was asked before")
DTK_PLUGIN(Dataset, of_its_thread, OfItsThread, "two threads see the examples that one sees")
DTK_PLUGIN(Dataset, half_there, HalfThere, "batches hold the conditions that it says")
DTK_PLUGIN(Dataset, own_seed, OwnSeed, "examples that are made follow the seed")
DTK_PLUGIN(Dataset, leaks, Leaks, "test examples are no training examples")
DTK_PLUGIN(Dataset, augmented, Augmented, "test examples that are made have the law of training examples")
DTK_PLUGIN(Dataset, wide, Wide, "examples are finite float32 of its shape, as many as were asked for")
DTK_PLUGIN(Dataset, from_one, FromOne, "labels are classes, named and counted as they come")
DTK_PLUGIN(Dataset, off_levels, OffLevels, "values lie in its range, and on its levels")
DTK_PLUGIN(Dataset, goes_round, GoesRound, "an example beyond the last is refused in words")
DTK_PLUGIN(Dataset, in_bits, InBitsData, "log p of examples has the entropy and the deviation that are said")
DTK_PLUGIN(Dataset, unnormalised, UnnormalisedData, "the density integrates to 1")
DTK_PLUGIN(Dataset, sigma_for_square, SigmaForSquareData, "the error of the denoiser is orthogonal to what it sees")
DTK_PLUGIN(Dataset, no_alpha, NoAlphaData, "the denoiser holds from no noise to nothing but noise")
DTK_PLUGIN(Dataset, of_noise, OfNoiseData, "the variance that is left is the slope of the denoiser")
DTK_PLUGIN(Dataset, always_double, AlwaysDoubleData, "a density answers row by row, in the type of its rows")
DTK_PLUGIN(Dataset, unfair, UnfairData, "modes come as often as they weigh")
DTK_PLUGIN(Dataset, sure, SureData, "what a measurement leaves obeys Bayes' rule")
