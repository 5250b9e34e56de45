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
        dtk::Choice<dtk::Times> times;
        void fields(dtk::Fields& f) {
            f("variance", variance, "of the reverse steps, one the process offers: small (β̃) or large (β)");
            f("every_step", every_step, "sum over all T steps instead of drawing one: T evaluations, exact in t");
            f("times", times, "how t is drawn");
        }
    } c;
    Elbo(const Config& config, const dtk::View& view) : c(config), times_(config.times.make(view)) {
        view.process().accept_variance(c.variance);
    }

    dtk::LossValues operator()(const dtk::Predict& predict, const dtk::Process& process, const dtk::Batch& batch,
                               const dtk::Random& random) const override {
        const auto& x0 = batch.x;
        const auto T = process.steps();
        const auto term_at = [&](const at::Tensor& t, const dtk::Random& noise) {
            const auto xt = process.noised(x0, t, noise);
            return process.bound_term(x0, xt.x, t, t - 1, predict(xt.x, t, {.label = batch.label}), c.variance);
        };
        const auto prior = process.prior_term(x0);
        auto reconstruction = at::zeros_like(prior), denoising = at::zeros_like(prior);
        auto t = at::zeros({x0.size(0)}, x0.options().dtype(at::kDouble));
        if (c.every_step) {
            for (std::int64_t step = 0; step < T; ++step)
                (step == 0 ? reconstruction : denoising) =
                    (step == 0 ? reconstruction : denoising) +
                    term_at(at::full_like(t, step), random.stream(fmt::format("noise {}", step)));
        } else {
            const auto drawn = times_->draw(batch, process, random.stream("t"));
            t = drawn.t.to(x0.device(), /*non_blocking=*/true);
            const auto term =
                term_at(t, random.stream("noise")) * drawn.weight.to(x0.options(), true) * static_cast<double>(T);
            reconstruction = at::where(t == 0, term, reconstruction);
            denoising = at::where(t == 0, denoising, term);
        }
        return {prior + denoising + reconstruction,
                t,
                {{"prior", prior}, {"denoising", denoising}, {"reconstruction", reconstruction}}};
    }

    std::shared_ptr<dtk::Times> times_;
};
}  // namespace

DTK_PLUGIN(Loss, elbo, Elbo, "the variational bound in nats: prior, denoising steps, reconstruction (Ho et al. 2020)")
