// −log p(x_0) ≤ L_T + E ∫_0^1 dL/du du, the bound of a process of categories in infinitely many steps, in nats per
// example. Of masked tokens dL/du = −ᾱ'/(1 − ᾱ) Σ_{masked} −log P(x_0 | x_t), a weighted cross entropy whose integral
// is the same for every schedule: Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (MDLM), 2024,
// eq. 10; Shi et al., "Simplified and Generalized Masked Diffusion for Discrete Data" (MD4), 2024, eq. 5. Of uniform
// noise: Schiff et al., "Simple Guidance Mechanisms for Discrete Diffusion Models" (UDLM), 2024, section 4.
//
// A whole time stands for the step that ends there, (t − 1, t], and u is drawn in it.
#include <cmath>
#include <numbers>

#include <dtk/categories.hpp>
#include <dtk/loss.hpp>

namespace {

using at::Tensor;

struct ContinuousElbo final : dtk::Loss {
    explicit ContinuousElbo(const dtk::BuildContext& context) {
        dtk::categorical(context.process(), "continuous_elbo");
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& drawn,
                               const dtk::Random& random) const override {
        const auto& process = dtk::categorical(denoise.process(), "continuous_elbo");
        const auto rows = batch.x.size(0);
        const auto within = random.stream("within").uniform({rows}, at::kDouble), t = drawn.rows(rows);
        const dtk::Time inside(at::where(t == t.floor(), t - within, t));

        const auto xt = process.noised(batch.x, inside, random.stream("noise"));
        const auto rate = process.bound_rate(batch.x, xt.x, inside, denoise(xt.x, inside));
        const auto bound = process.prior_term(batch.x) + rate;
        const double bit = std::numbers::ln2 * static_cast<double>(batch.x[0].numel());
        return {{{.value = bound}}, {{"bits_per_token", bound.detach() / bit}}};
    }
};
}  // namespace

DTK_PLUGIN(Loss, continuous_elbo, ContinuousElbo,
           "the bound of categories in infinitely many steps: of masked tokens a weighted cross entropy (Sahoo et al. "
           "2024, Shi et al. 2024); elsewhere: mdlm, md4, udlm")
