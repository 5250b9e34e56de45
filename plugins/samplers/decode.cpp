// x = x̂_0(x_T) + √Σ z: one evaluation at the noisy end, of networks that take noise to data at once, such as `decoder`.
// Σ is the variance that the network has learned, where it learns one.
#include <dtk/sampler.hpp>

namespace {
struct Decode final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        bool noise = true;
        Config() { steps = 1; }
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("noise", noise, "draw with the learned variance; else the mean is taken");
            f.require(steps == 1, "steps", "is not 1, and decode makes one step", "set steps = 1");
        }
    } c;
    Decode(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto t = times.front();
        const auto made = denoise(x, t);
        auto x0 = denoise.process().convert(made, dtk::PredictionType::x0, x, t);
        if (c.noise && made.variance) x0 = x0 + made.variance->sqrt() * random.step(0).normal(x.sizes(), x.options());
        done(1, x0);
        return x0;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, decode, Decode, "one evaluation at the noisy end, for GANs, VAEs and other decoders of noise")
