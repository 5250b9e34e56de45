// −log p(x_0) ≤ L_T + Σ_{t≥1} L_t + L_0, in nats per example:
//   L_T = KL(q(x_T|x_0) ‖ p(x_T)),  L_t = E KL(q(x_{t−1}|x_t, x_0) ‖ p(x_{t−1}|x_t)),  L_0 = −E log p(x_0|x_1)
// Sohl-Dickstein et al. 2015, eq. 14; Ho, Jain & Abbeel 2020, eq. 5. One step is drawn for each example and stands for
// all T of them, which is unbiased; with `every_step` all are computed.

#include <fmt/format.h>

#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {
struct Elbo final : dtk::Loss {
    struct Config {
        std::string variance = "small";
        bool every_step = false;
        void fields(dtk::Fields& f) {
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
            f("every_step", every_step, "sum over all T steps instead of drawing one: T evaluations, exact in t");
        }
    } c;
    Elbo(const Config& config, const dtk::BuildContext& context) : c(config) {
        context.process().accept_variance(c.variance);
    }

    bool draws_times() const override { return !c.every_step; }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto T = process.steps();
        const auto term_at = [&](const dtk::Time& t, const dtk::Random& noise) {
            const auto xt = process.noised(batch.x, t, noise);
            return process.bound_term(batch.x, xt.x, t, t.minus(1), denoise(xt.x, t), c.variance);
        };
        const auto prior = process.prior_term(batch.x);
        auto reconstruction = at::zeros_like(prior), denoising = at::zeros_like(prior);
        if (c.every_step) {
            reconstruction = term_at(0, random.stream("noise 0"));
            for (std::int64_t step = 1; step < T; ++step)
                denoising =
                    denoising + term_at(static_cast<double>(step), random.stream(fmt::format("noise {}", step)));
        } else {
            const dtk::Time step = t.rows(batch.x.size(0)).ceil();  // that a real time falls into
            const auto term = term_at(step, random.stream("noise")) * static_cast<double>(T);
            const auto first = step.on(batch.x) == 0;
            reconstruction = at::where(first, term, reconstruction);
            denoising = at::where(first, denoising, term);
        }
        return {{{.value = prior + denoising + reconstruction}},
                {{"prior", prior}, {"denoising", denoising}, {"reconstruction", reconstruction}}};
    }
};
}  // namespace

DTK_PLUGIN(Loss, elbo, Elbo, "the variational bound in nats: prior, denoising steps, reconstruction (Ho et al. 2020)")
