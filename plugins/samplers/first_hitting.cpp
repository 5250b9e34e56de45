// From masks alone, for n = L … 1 tokens that are masked still: the share m = 1 − ᾱ of masked tokens at which the next
// one shows is m·U^{1/n}, U ~ U(0, 1); which one it is, is any of the n, and its category is drawn from P(x_0 | x_t).
// Zheng et al., "Masked Diffusion Models are Secretly Time-Agnostic Masked Models and Exploit Inaccurate Categorical
// Sampling", 2024, algorithm 1: the chain in infinitely many steps, without error, in one evaluation for each token. In
// fewer steps so many tokens are drawn from one evaluation, each by itself, and that is the only error.
//
// Tokens that show at the start are kept. Of the grid only the first time counts, which it starts from.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/categories.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct FirstHitting final : dtk::Sampler {
    using Config = dtk::Sampler::Config;  // steps: evaluations of the network, 0: one for each token; grid
    FirstHitting(const Config& config, const dtk::BuildContext& context)
        : Sampler(evaluations(config, context), context), evaluations_(config.steps) {}

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random& random,
                  const dtk::StepCallback& done) const override {
        const auto& process = dtk::categorical(denoise.process(), "first_hitting");
        const auto& noise = denoise.noise();
        const auto rows = x.size(0), tokens = x[0].numel(), mask = process.categories(),
                   evaluations = evaluations_ > 0 ? evaluations_ : tokens;
        const auto on_x = x.options().dtype(at::kDouble);
        auto masked_share = at::full({rows}, noise.sigma2(times.front()), at::kDouble);

        std::int64_t shown = 0;
        for (std::int64_t i = 0; i < evaluations; ++i) {
            const auto until = (i + 1) * tokens / evaluations;
            Tensor probability;
            for (; shown < until; ++shown) {
                // When the next token shows
                const auto draw = random.step(shown);
                const auto u = 1 - draw.stream("time").uniform({rows}, at::kDouble);
                masked_share = masked_share * u.pow(1 / static_cast<double>(tokens - shown));
                if (!probability.defined()) {
                    const auto t = time_of(noise, masked_share);
                    probability = process.log_clean(denoise(x, t), x).flatten(1, -2).exp();
                }
                // Which one it is, and its category
                const auto number = process.numbers(x).flatten(1);
                const auto masked = (number == mask).to(at::kDouble);
                const auto place = dtk::category_at(masked, draw.stream("place").uniform({rows}, on_x)).unsqueeze(1);
                const auto law = probability.gather(1, place.unsqueeze(2).expand({-1, -1, mask})).squeeze(1);
                const auto token = dtk::category_at(law, draw.stream("token").uniform({rows}, on_x)).unsqueeze(1);
                const auto kept = number.gather(1, place);
                x = process.values(number.scatter(1, place, at::where(kept == mask, token, kept)), x.scalar_type())
                        .view_as(x);
            }
            done(i + 1, x);
        }
        return x;
    }

 private:
    /// The base knows as many times as there are evaluations, or as many as the process has.
    static Config evaluations(const Config& config, const dtk::BuildContext& context) {
        const auto& process = dtk::categorical(context.process(), "first_hitting");
        if (!process.masks())
            throw dtk::Error("first_hitting needs tokens that are masked, and here they are drawn anew",
                             "use kernel = \"absorbing\" in [process], or another sampler");
        const auto tokens = context.space().elements();
        if (config.steps > tokens)
            throw dtk::Error(fmt::format("`steps` = {} is more than the {} tokens of an example", config.steps, tokens),
                             "remove `steps`: each token then has an evaluation of its own");
        auto base = config;
        base.steps = std::min(config.steps > 0 ? config.steps : tokens, process.steps());
        return base;
    }

    /// Where so large a share is masked.
    static dtk::Time time_of(const dtk::NoiseLevels& noise, const Tensor& masked_share) {
        auto t = at::empty_like(masked_share);
        const auto* m = masked_share.const_data_ptr<double>();
        for (std::int64_t i = 0; i < t.numel(); ++i)
            t.mutable_data_ptr<double>()[i] = noise.time(std::log1p(-m[i]) - std::log(m[i]));
        return t;
    }

    std::int64_t evaluations_;
};
}  // namespace

DTK_PLUGIN(Sampler, first_hitting, FirstHitting,
           "one masked token after the other, without error (Zheng et al. 2024); elsewhere: fhs")
