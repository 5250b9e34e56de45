// The mean of several draws of another sampler: a sampler whose field is a sampler.
#include <string>

#include <dtk/sampler.hpp>

namespace {
struct MeanOf final : dtk::Sampler {
    struct Config : dtk::Sampler::Config {
        dtk::Part<dtk::Sampler> inner;
        std::int64_t draws = 1;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("inner", inner, "the sampler that draws");
            f("draws", draws, dtk::in(1, 100), "how many draws are averaged");
        }
    };
    MeanOf(const Config& config, const dtk::BuildContext& context)
        : Sampler(config, context), inner_(config.inner.make(context)), draws_(config.draws) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>&, at::Tensor x, const dtk::Random& random,
                      const dtk::StepCallback& done) const override {
        const auto times = inner_->times(denoise.process());
        auto sum = at::zeros_like(x);
        for (std::int64_t i = 0; i < draws_; ++i) {
            const auto numbers = i == 0 ? random : random.stream("draw " + std::to_string(i));
            sum = sum + inner_->sample(denoise, times, x, numbers, done);
        }
        return sum / static_cast<double>(draws_);
    }

    std::shared_ptr<dtk::Sampler> inner_;
    std::int64_t draws_;
};
}  // namespace

DTK_PLUGIN(Sampler, mean_of, MeanOf, "the mean of several draws of another sampler")
