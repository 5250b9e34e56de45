// Sequential Monte Carlo with P particles for each sample. With p̃(y | x_t) = N(y; A(x̂_0), (sd² + σ²/(α² + σ²)) I),
// which is p(y | x_0) at clean data, and the reverse step p(x_s | x_t) = N(μ, Σ):
//   w ← p̃(y | x_T)
//   for t = t_N … t_1:
//     where the effective number of particles is below `resample` of P, particles are drawn by w, and w ← 1
//     x_s ~ q = N(μ + Σ ∇ log p̃(y | x_t), Σ)
//     w ← w p(x_s | x_t) p̃(y | x_s) / (q(x_s | x_t) p̃(y | x_t))
//   the sample is one of the particles, drawn by w
// Wu, Trippe, Naesseth, Blei & Cunningham, "Practical and Asymptotically Exact Conditional Sampling in Diffusion
// Models", 2023, algorithm 1 (TDS), with systematic resampling. The particles of a sample are in one batch with it;
// those of different samples have nothing to do with each other, so that samples are independent.
//
// As P grows it comes to the law that the reverse steps with this network and grid have given y, whatever p̃ is; with
// few particles it is biased. N(0.3, 0.5²) seen at 1 with sd 0.2 comes out in 200 steps as N(0.829, 0.206²) with P = 1,
// N(0.886, 0.190²) with 4, N(0.896, 0.185²) with 16 and N(0.895, 0.184²) with 64, where N(0.903, 0.186²) is right: what
// is left is the spread that 200 steps lose. Where α is small an error of ε̂ is a large one of x̂_0 and of the pull, so
// prefer networks of x_0 or v, or clip.
#include <cmath>
#include <numbers>
#include <string>

#include <dtk/linearised.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct Twisted final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t particles = 16;
        double resample = 0.5;
        std::string variance = "small";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("particles", particles, dtk::at_least(1), "P, of each sample; a batch is so many times as large");
            f("resample", resample, dtk::in(0, 1), "share of effective particles below which they are drawn anew");
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
        }
    } c;
    Twisted(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config), seen_(dtk::observation(context, "twisted")) {
        context.process().accept_variance(c.variance);
        if (seen_.sd() == 0)
            throw dtk::Error("twisted weighs particles by the density of y's error, and y is exact",
                             "say in `sd` of [observation] what error y has");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor start,
                  const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        const auto& process = denoise.gaussian();
        const auto samples = start.size(0), P = c.particles;
        const auto all = denoise.with(denoise.condition().repeated(P));
        auto sizes = start.sizes().vec();
        sizes.insert(sizes.begin() + 1, P);  // [samples, P, ...]
        const auto one_after_the_other = [](const Tensor& x) { return x.flatten(0, 1); };

        // The first particle starts where the sample was to start, the others at draws of their own.
        auto others = sizes;
        others[1] = P - 1;
        const auto drawn = process.prior(others, start.options(), random.stream("particles"), times.front());
        auto x = one_after_the_other(at::cat({start.unsqueeze(1), drawn}, 1));

        auto log_w = at::zeros({samples, P}, start.options()), twist_before = log_w, log_ratio = log_w;
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            // Weights of where the particles have come to.
            const double alpha = noise.alpha(t), sigma = noise.sigma(t);
            const double spread2 = seen_.sd() * seen_.sd() + sigma * sigma / (alpha * alpha + sigma * sigma);
            const auto at = dtk::observed_estimate(all, seen_, x, t, all.condition());
            auto twist = log_normal(at.residual, spread2).view({samples, P});
            log_w = log_w + log_ratio + twist - twist_before;

            // The step, without y and with it, of those that go on.
            const auto step = process.reverse(x, at.prediction, t, s, c.variance);
            const auto pull = step.variance * at.back(at.residual / spread2);
            const auto chosen = resampled(log_w, random.stream("resample").step(i));
            const auto rows = rows_of(chosen);
            const auto mean = step.mean.index_select(0, rows), moved = pull.index_select(0, rows);
            const auto sd = step.variance.expand_as(step.mean).index_select(0, rows).sqrt();
            twist_before = twist.gather(1, chosen);
            if (last) {
                // p̃(y | x_0) is p(y | x_0).
                const auto residual = dtk::observed(all.condition()).to(mean.options()) - seen_.of(mean);
                log_w = log_w + log_normal(residual, seen_.sd() * seen_.sd()).view({samples, P}) - twist_before;
                const auto u = random.stream("choice").uniform({samples, 1}, log_w.options());
                x = mean.index_select(0, rows_of(picked(log_w, u)));
                done(i + 1, x);
                break;
            }
            const auto z = one_after_the_other(random.step(i).normal(sizes, start.options()));
            x = mean + moved + sd * z;
            // log N(x; μ, Σ) − log N(x; μ + m, Σ) = −(z √Σ + ½ m) m/Σ
            log_ratio = ((sd * z + 0.5 * moved) * moved / sd.square()).flatten(1).sum(1).view({samples, P}) * -1;
            done(i + 1, x.view(sizes).select(1, 0));
        }
        return x;
    }

 private:
    /// log N(residual; 0, variance I), [rows]
    static Tensor log_normal(const Tensor& residual, double variance) {
        return (residual.square() / variance + std::log(2 * std::numbers::pi * variance)).sum(1) * -0.5;
    }

    /// Where the particles of each sample stand in the batch of all. particles: [samples, n] → [samples · n]
    Tensor rows_of(const Tensor& particles) const {
        return (particles + c.particles * at::arange(particles.size(0), particles.options()).unsqueeze(1)).flatten();
    }

    /// The particles at the quantiles u of their weights. log_w: [samples, P], u: [samples, n] → [samples, n]
    static Tensor picked(const Tensor& log_w, const Tensor& u) {
        const auto below = log_w.softmax(1).cumsum(1);
        return at::searchsorted(below, u * below.slice(1, -1), false, /*right=*/true).clamp_max(log_w.size(1) - 1);
    }

    /// Who goes on: of samples with too few effective particles systematically by the weights, which are then equal.
    Tensor resampled(Tensor& log_w, const dtk::Random& random) const {
        const auto P = log_w.size(1);
        const auto effective = 1 / log_w.softmax(1).square().sum(1, /*keepdim=*/true);
        const auto few = effective < c.resample * static_cast<double>(P);
        const auto in_order = at::arange(P, log_w.options().dtype(at::kLong)).expand_as(log_w);
        const auto u = (at::arange(P, log_w.options()) + random.uniform({log_w.size(0), 1}, log_w.options())) /
                       static_cast<double>(P);
        const auto chosen = at::where(few, picked(log_w, u), in_order);
        log_w = at::where(few, 0, log_w);
        return chosen;
    }

    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Sampler, twisted, Twisted,
           "sequential Monte Carlo over particles (TDS, Wu et al. 2023); exact as particles grow; elsewhere: tds")
