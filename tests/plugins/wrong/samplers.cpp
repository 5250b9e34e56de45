// Samplers that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>

#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

/// ddim's step from its parts, which each gets wrong in its own way.
struct Wrong : dtk::GaussianSampler {
    using Config = dtk::Sampler::Config;
    using dtk::GaussianSampler::GaussianSampler;
    static Tensor ddim(const dtk::Denoiser& denoise, const Tensor& x, double t, double s) {
        const auto [x0, eps] = denoise.estimate(x, t);
        return denoise.noise().alpha(s) * x0 + denoise.noise().sigma(s) * eps;
    }
};

/// The same numbers in every step.
struct OneDraw final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = denoise.reverse_step(x, t, s, "small", random);
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }
};

/// Noise from LibTorch's own generator.
struct GlobalNoise final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto step = denoise.reverse(x, t, s, "small");
            x = step.mean + step.variance.sqrt() * at::randn(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }
};

/// σ² for σ.
struct SquaredSigma final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            x = denoise.noise().alpha(s) * x0 + denoise.noise().sigma2(s) * eps;
            done(i + 1, x);
        }
        return x;
    }
};

/// Two answers are mixed with the weights of equal steps the wrong way round: worse than one answer alone.
struct WrongWeights final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        Tensor before;
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto [x0, eps] = denoise.estimate(x, t);
            const auto mixed = before.defined() ? 0.97 * eps + 0.05 * before : eps;
            before = eps;
            x = denoise.noise().alpha(s) * x0 + denoise.noise().sigma(s) * mixed;
            done(i + 1, x);
        }
        return x;
    }
};

/// What the last call came to is where the next one starts from.
struct WarmStart final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        if (eps_.defined() && eps_.sizes() == x.sizes()) x = x + 1e-3 * eps_.to(x.scalar_type());
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            eps_ = denoise.eps(x, t);
            x = ddim(denoise, x, t, s);
            done(i + 1, x);
        }
        return x;
    }
    mutable Tensor eps_;
};

/// Steps of a size that the norm over the whole batch says.
struct BatchNorm final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto z = random.step(i).normal(x.sizes(), x.options());
            const auto score = denoise.score(x, t);
            const auto size = 1e-4 * (z.square().mean() / score.square().mean());
            x = ddim(denoise, x + size * score + (2 * size).sqrt() * z, t, s);
            done(i + 1, x);
        }
        return x;
    }
};

/// The answer is taken for ε̂, whatever the network predicts.
struct AlwaysEps final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto eps = denoise(x, t).value;
            const auto x0 = (x - noise.sigma(t) * eps) / std::max(noise.alpha(t), 0.01);
            x = noise.alpha(s) * x0 + noise.sigma(s) * eps;
            done(i + 1, x);
        }
        return x;
    }
};

/// Steps are numbered from 0.
struct FromZero final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = ddim(denoise, x, t, s);
            done(i, x);
        }
        return x;
    }
};

/// It draws the process's reverse steps, and what would move them never hears of it.
struct Unmoved final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x = denoise.process().reverse_step(x, denoise(x, t), t, s, "small", random.step(i));
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }
};

/// One row of noise for the whole batch.
struct OneRow final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const auto step = denoise.reverse(x, t, s, "small");
            auto sizes = x.sizes().vec();
            sizes[0] = 1;
            x = step.mean + step.variance.sqrt() * random.step(i).normal(sizes, x.options());
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }
};

/// The last step is a draw at t = 0, so that noise is left, and it is written into the start.
struct InPlace final : Wrong {
    using Wrong::Wrong;
    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            x.copy_(ddim(denoise, x, t, s));
            done(i + 1, x);
        }
        return x;
    }
};

}  // namespace

DTK_PLUGIN(Sampler, one_draw, OneDraw, "with the exact denoiser and many steps its samples have the law of the data")
DTK_PLUGIN(Sampler, global_noise, GlobalNoise, "the same numbers give the same samples, whatever came before")
DTK_PLUGIN(Sampler, squared_sigma, SquaredSigma,
           "with the exact denoiser and many steps its samples have the law of the data")
DTK_PLUGIN(Sampler, wrong_weights, WrongWeights,
           "without noise it comes to the exact flow, the nearer the shorter its steps")
DTK_PLUGIN(Sampler, warm_start, WarmStart, "the same numbers give the same samples, whatever came before")
DTK_PLUGIN(Sampler, batch_norm, BatchNorm, "a sample does not depend on the batch that it is drawn in")
DTK_PLUGIN(Sampler, always_eps, AlwaysEps, "it does not matter in which type the network answers")
DTK_PLUGIN(Sampler, from_zero, FromZero, "it reports each step once, and ends with what it reported last")
DTK_PLUGIN(Sampler, unmoved, Unmoved, "its reverse steps are moved where it says that it draws such")
DTK_PLUGIN(Sampler, one_row, OneRow, "numbers are drawn anew for each row and element")
DTK_PLUGIN(Sampler, in_place, InPlace, "the same numbers give the same samples, whatever came before")
