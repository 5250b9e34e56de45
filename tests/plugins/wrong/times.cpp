// Times that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/drawn_times.hpp>

namespace {

using at::Tensor;
using dtk::Batch;
using dtk::Process;
using dtk::Random;

/// 1 … T of the papers, where it is 0 … T − 1 here.
struct OneTooLate final : dtk::Times {
    dtk::SampledTimes draw(const Batch& batch, const Process& process, const Random& random) const override {
        return {dtk::Time(random.integers(process.steps(), {batch.x.size(0)}).to(at::kDouble) + 1), 1};
    }
};

/// Real times, whatever the process knows.
struct Between final : dtk::Times {
    dtk::SampledTimes draw(const Batch& batch, const Process& process, const Random& random) const override {
        const auto u = 1 - random.uniform({batch.x.size(0)}, at::kDouble);
        return {dtk::Time(u * static_cast<double>(process.steps()) - 1), 1};
    }
};

/// Noisy times more often, and nobody weighs them back.
struct Unweighed final : dtk::Times {
    dtk::SampledTimes draw(const Batch& batch, const Process& process, const Random& random) const override {
        const auto T = static_cast<double>(process.steps());
        return {dtk::Time((random.uniform({batch.x.size(0)}, at::kDouble).sqrt() * T).floor().clamp_max(T - 1)), 1};
    }
};

/// Quantiles of one density and the density of another.
struct OtherDensity final : dtk::DensityTimes {
    OtherDensity(const Config& config, const dtk::BuildContext& context) : DensityTimes(config, context) {}
    double quantile(double r) const override { return std::sqrt(r); }
    double density(double u) const override { return 3 * u * u; }
};

/// Parts of the time by the row of what it was given, not by that of the batch.
struct PartsOfParts final : dtk::Times {
    dtk::SampledTimes draw(const Batch& batch, const Process& process, const Random& random) const override {
        const auto n = batch.x.size(0);
        const auto u = (at::arange(n, at::kDouble) + random.uniform({n}, at::kDouble)) / static_cast<double>(n);
        return {dtk::Time((u * static_cast<double>(process.steps())).floor()), 1};
    }
};

/// LibTorch's global generator.
struct GlobalDice final : dtk::Times {
    dtk::SampledTimes draw(const Batch& batch, const Process& process, const Random&) const override {
        return {dtk::Time(at::randint(process.steps(), {batch.x.size(0)}, at::kDouble)), 1};
    }
};

/// The same times at every step of training.
struct EverTheSame final : dtk::Times {
    dtk::SampledTimes draw(const Batch& batch, const Process& process, const Random& random) const override {
        return {dtk::Time(random.step(0).integers(process.steps(), {batch.x.size(0)}).to(at::kDouble)), 1};
    }
};

/// As often as the error is large there. What it was told is kept in `kept()`.
struct ByError : dtk::Times {
    explicit ByError(const dtk::BuildContext& context) : T_(context.process().steps()) {}
    dtk::SampledTimes draw(const Batch& batch, const Process&, const Random& random) const override {
        const auto p = (kept() + 0.1) / (kept() + 0.1).sum();
        const auto upto = p.cumsum(0);
        const auto t =
            at::searchsorted(upto, random.uniform({batch.x.size(0)}, at::kDouble) * upto[T_ - 1], false, true)
                .clamp_max(T_ - 1);
        return {dtk::Time(t.to(at::kDouble)), dtk::Coefficient::of_rows(weight(p.index_select(0, t)))};
    }
    bool observes() const override { return true; }
    void observe(const dtk::Time& t, const Tensor& error) override {
        kept().index_put_({t.rows(error.size(0)).round().clamp(0, static_cast<double>(T_ - 1)).to(at::kLong)}, error);
    }
    virtual Tensor kept() const = 0;
    virtual Tensor weight(const Tensor& p) const { return 1 / (p * static_cast<double>(T_)); }

    std::int64_t T_;
};

/// … in a tensor that no checkpoint knows.
struct ForgetsErrors final : ByError {
    explicit ForgetsErrors(const dtk::BuildContext& context)
        : ByError(context), errors_(at::zeros({T_}, at::kDouble)) {}
    Tensor kept() const override { return errors_; }
    Tensor errors_;
};

/// … and weighed back by the root of it.
struct HalfWeighed final : ByError {
    explicit HalfWeighed(const dtk::BuildContext& context)
        : ByError(context), errors_(&buffer("errors", at::zeros({T_}, at::kDouble))) {}
    Tensor kept() const override { return *errors_; }
    Tensor weight(const Tensor& p) const override { return (p * static_cast<double>(T_)).rsqrt(); }
    Tensor* errors_;
};

}  // namespace

DTK_PLUGIN(Times, one_too_late, OneTooLate, "times lie in (−1, T − 1], whole where the process knows whole steps alone")
DTK_PLUGIN(Times, between, Between, "times lie in (−1, T − 1], whole where the process knows whole steps alone")
DTK_PLUGIN(Times, unweighed, Unweighed,
           "a weighted mean over its times is one over uniform times, or over the density that it says")
DTK_PLUGIN(Times, other_density, OtherDensity,
           "a weighted mean over its times is one over uniform times, or over the density that it says")
DTK_PLUGIN(Times, parts_of_parts, PartsOfParts, "a batch in parts has the times of the whole")
DTK_PLUGIN(Times, global_dice, GlobalDice, "the same random numbers make the same times, those of another step others")
DTK_PLUGIN(Times, ever_the_same, EverTheSame,
           "the same random numbers make the same times, those of another step others")
DTK_PLUGIN(Times, forgets_errors, ForgetsErrors, "all that it remembers is in tensors that a checkpoint keeps")
DTK_PLUGIN(Times, half_weighed, HalfWeighed, "it stays so after it was told errors")
