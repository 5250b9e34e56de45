// Samples of p(x) r(x), r(x) = N(y; x, sd²) of the known elements: p(x_T) and each reverse step are multiplied by
// r_t(x) = r(x)^w,
//   N(x_s; μ, Σ) r_s(x_s) ∝ N(x_s; μ + g (y − μ), Σ (1 − g)),   g = w Σ / (w Σ + sd²)
// or, `shift`, the mean alone is moved by Σ ∂log r_s/∂x at μ. w is 1 ("constant") or (T − t)/T ("linear").
// Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", 2015, section 2.5; constant
// r: eq. 23.
//
// Biased, even with a perfect network: r of x_t is not what y says of x_t, and it enters at every step. With "constant"
// and many steps the samples come to p(x) r(x)², not p(x) r(x): the steps alone drift by half the score of p, and the
// product adds all of the score of r. Of x ~ N(0, 1) seen at 1 with variance ½, "constant" makes N(0.80, 0.20),
// "linear" N(0.68, 0.25), where N(0.67, 0.33) is right. See model `exact_conditional`.

#include <dtk/observation.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct Multiply final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::string power = "constant", form = "product", variance = "small";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("power", power, {"constant", "linear"}, "w, the power of r: 1 at all steps, or (T − t)/T");
            f("form", form, {"product", "shift"}, "multiply normal laws, or shift the mean by Σ ∂log r/∂x");
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
        }
    } c;
    Multiply(const Config& config, const dtk::BuildContext& context)
        : GaussianSampler(config, context), c(config), seen_(dtk::observed_elements(context, "multiply")) {
        context.process().accept_variance(c.variance);
        if (c.form == "shift" && seen_.sd() == 0)
            throw dtk::Error("where y is exact, log r has no slope to shift the mean by",
                             "use form = \"product\", or an observation with `sd` above 0");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        const auto [mask, value] = dtk::known_elements(seen_, dtk::observed(denoise.condition()), x);
        const auto known = mask.to(x.scalar_type()), y = value;
        const double error2 = seen_.sd() * seen_.sd();
        const auto T = static_cast<double>(denoise.process().steps());
        const auto weight = [&](double t) { return c.power == "linear" ? (T - 1 - t) / T : 1.0; };  // t is 0-based
        const auto gain = [&](const Tensor& variance, double t) {
            const double w = weight(t);
            if (w == 0) return at::zeros_like(known);
            return error2 == 0 ? known : known * (w * variance / (w * variance + error2));
        };

        // x is a draw of the prior N(0, v), which is made one of N(0, v) r(x).
        const auto& noise = denoise.noise();
        const double first = times.front(), v = std::pow(noise.prior_sd(first), 2);
        const auto g = gain(at::full({}, v, x.options()), first);
        x = g * y + (1 - g).sqrt() * x;
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            auto [mean, variance] = denoise.reverse(x, t, s, c.variance);
            if (c.form == "shift") {
                mean = mean + known * variance * (weight(s) / error2) * (y - mean);
            } else {
                const auto g = gain(variance, s);
                mean = mean + g * (y - mean);
                variance = variance * (1 - g);
            }
            x = mean + variance.sqrt() * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }
    bool draws_reverse_steps() const override { return true; }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Sampler, multiply, Multiply,
           "samples of p(x) r(x) by multiplying each step with r (Sohl-Dickstein et al. 2015); biased even with a "
           "perfect network")
