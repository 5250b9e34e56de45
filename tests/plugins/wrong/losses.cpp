// Losses that do wrong on purpose; each names the law that it breaks as its summary.
#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {

using at::Tensor;
using dtk::Batch;
using dtk::Denoiser;
using dtk::LossValues;
using dtk::PredictionType;
using dtk::Random;
using dtk::Time;

Tensor squared(const Tensor& error) { return error.square().flatten(1).mean(1); }

/// The squared error of ε, right but for what those below change.
struct OfNoise : dtk::Loss {
    LossValues operator()(const Denoiser& denoise, const Batch& batch, const Time& t,
                          const Random& random) const override {
        const auto noise = drawn(batch.x, random.stream("noise"));
        return {{{.value = value(denoise, batch, noise, denoise.process().mix(batch.x, noise, t), t),
                  .error_of = PredictionType::eps}}};
    }
    virtual Tensor drawn(const Tensor& x, const Random& random) const { return random.normal(x.sizes(), x.options()); }
    virtual Tensor value(const Denoiser& denoise, const Batch&, const Tensor& noise, const Tensor& xt,
                         const Time& t) const {
        return squared(denoise.eps(xt, t) - noise);
    }
};

/// The mean over the batch, as everybody writes it.
struct BatchMean final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch&, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        return (denoise.eps(xt, t) - noise).square().mean().unsqueeze(0);
    }
};

/// Over the largest error of the batch.
struct BatchScale final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch&, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        const auto error = squared(denoise.eps(xt, t) - noise);
        return error / error.detach().max();
    }
};

/// LibTorch's global generator.
struct GlobalNoise final : OfNoise {
    Tensor drawn(const Tensor& x, const Random&) const override { return at::randn_like(x); }
};

/// One noise for all examples.
struct SharedNoise final : OfNoise {
    Tensor drawn(const Tensor& x, const Random& random) const override {
        auto sizes = x.sizes().vec();
        sizes[0] = 1;
        return random.from(0).normal(sizes, x.options()).expand_as(x);
    }
};

/// x_t = α x_0 + σ² ε
struct SquaredSigma final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch& batch, const Tensor& noise, const Tensor&,
                 const Time& t) const override {
        const auto& process = denoise.gaussian();
        const auto sigma = process.sigma(t);
        const auto xt = sum_of(process.alpha(t), batch.x, sigma * sigma, noise);
        return squared(denoise.eps(xt, t) - noise);
    }
};

/// v = α ε + σ x_0
struct SignOfV final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch& batch, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        const auto& process = denoise.gaussian();
        return squared(denoise.v(xt, t) - sum_of(process.alpha(t), noise, process.sigma(t), batch.x));
    }
};

/// It says that it is the error of ε, and is that of x_0.
struct SaysNoise final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch& batch, const Tensor&, const Tensor& xt,
                 const Time& t) const override {
        return squared(denoise.x0(xt, t) - batch.x);
    }
};

/// A distance that is no square, from α ε.
struct Shrunk final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch&, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        const auto error = denoise.eps(xt, t) - denoise.gaussian().alpha(t) * noise;
        return ((error.square() + 0.01).sqrt() - 0.1).flatten(1).mean(1);
    }
};

/// The network is asked at the step before.
struct StepBefore final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch&, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        const Time before = (t.rows(xt.size(0)) - 1).clamp_min(0);
        return squared(denoise.eps(xt, before) - noise);
    }
};

/// x̂_0 by 1/(the time that is left), 1/0 at the last step.
struct TimeLeft final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch&, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        const double last = static_cast<double>(denoise.process().steps() - 1);
        const auto left = t.map([&](double t) { return 1 / (last - t); });
        return left * squared(denoise.eps(xt, t) - noise);
    }
};

/// Only a number is left of what is minimised.
struct Detached final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch&, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        return squared(denoise.eps(xt, t) - noise).detach();
    }
};

/// The network is asked without the class.
struct Unconditional final : OfNoise {
    Tensor value(const Denoiser& denoise, const Batch& batch, const Tensor& noise, const Tensor& xt,
                 const Time& t) const override {
        return OfNoise::value(denoise.with({}), batch, noise, xt, t);
    }
};

/// Times of its own, which the importance weights know nothing of.
struct OwnTimes final : dtk::Loss {
    LossValues operator()(const Denoiser& denoise, const Batch& batch, const Time&,
                          const Random& random) const override {
        const auto& process = denoise.process();
        const Time t = random.stream("t").integers(process.steps(), {batch.x.size(0)}).to(at::kDouble);
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        return {{{.value = squared(denoise.eps(xt.x, t) - xt.noise)}}};
    }
};

/// The noise is added to the examples themselves.
struct AddsInPlace final : dtk::Loss {
    LossValues operator()(const Denoiser& denoise, const Batch& batch, const Time& t,
                          const Random& random) const override {
        const auto& process = denoise.gaussian();
        const auto noise = random.normal(batch.x.sizes(), batch.x.options());
        auto x = batch.x;
        x.mul_(process.alpha(t).beside(x)).add_(process.sigma(t) * noise);
        return {{{.value = squared(denoise.eps(x, t) - noise)}}};
    }
};

/// A path that no tensor has.
struct TrainsNobody final : dtk::Loss {
    TrainsNobody() { parameter("scale", at::ones({})); }
    LossValues operator()(const Denoiser& denoise, const Batch& batch, const Time& t,
                          const Random& random) const override {
        const auto xt = denoise.process().noised(batch.x, t, random);
        return {{{.value = squared(denoise.eps(xt.x, t) - xt.noise), .trains = "critic"}}};
    }
};

}  // namespace

DTK_PLUGIN(Loss, batch_mean, BatchMean,
           "it has one finite number for each example, and the same values to log at each step")
DTK_PLUGIN(Loss, batch_scale, BatchScale, "a batch in parts has the values of the whole")
DTK_PLUGIN(Loss, global_noise, GlobalNoise,
           "the same random numbers make the same values, those of another step or row others")
DTK_PLUGIN(Loss, shared_noise, SharedNoise,
           "the same random numbers make the same values, those of another step or row others")
DTK_PLUGIN(Loss, squared_sigma, SquaredSigma, "a square of what the network answers is least at the exact denoiser")
DTK_PLUGIN(Loss, sign_of_v, SignOfV, "a square of what the network answers is least at the exact denoiser")
DTK_PLUGIN(Loss, step_before, StepBefore, "a square of what the network answers is least at the exact denoiser")
DTK_PLUGIN(Loss, says_noise, SaysNoise,
           "what says that it is the squared error of a type is so at every time, but for a factor")
DTK_PLUGIN(Loss, shrunk, Shrunk, "of normal data, any distance is least at the exact denoiser")
DTK_PLUGIN(Loss, time_left, TimeLeft, "it is finite at both ends of the times, and its gradient")
DTK_PLUGIN(Loss, detached, Detached,
           "gradients reach the network and all that the loss owns, and what it trains exists")
DTK_PLUGIN(Loss, trains_nobody, TrainsNobody,
           "gradients reach the network and all that the loss owns, and what it trains exists")
DTK_PLUGIN(Loss, unconditional, Unconditional, "the network is told the condition of the batch")
DTK_PLUGIN(Loss, own_times, OwnTimes, "it depends on the drawn times, or says that it stands for none")
DTK_PLUGIN(Loss, adds_in_place, AddsInPlace, "it writes into nothing that it is given")
