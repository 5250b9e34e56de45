// L = E ‖u(x_t, r, t) − (v_t − (t − r) du/dt)‖²/d,   du/dt = v_t ∂u/∂x + ∂u/∂t,   v_t = α̇ x_0 + σ̇ ε
// Geng, Deng, Bai, Kolter & He, "Mean Flows for One-step Generative Modeling", 2025, algorithm 1: u is the average
// velocity between r and t, which is told both times. What it is compared with is a number, du/dt a Jacobian-vector
// product by forward-mode differentiation. Each example's error is divided by (its own + c)^p. For a share of the
// examples r = t, where u is the velocity itself; for the others r is drawn evenly from the data to t. Sample with
// `flow_map`.
#include <dtk/flow_map.hpp>
#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {

using at::Tensor;

struct MeanFlow final : dtk::Loss {
    struct Config {
        double share = 0.25, power = 1, c = 1e-3;
        void fields(dtk::Fields& f) {
            f("share", share, dtk::in(0, 1), "of the examples, that have an end before t");
            f("power", power, dtk::at_least(0), "p; 0: the squared error");
            f("c", c, dtk::above(0), "c");
        }
    } c;
    MeanFlow(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::gaussian(context.process(), "loss `meanflow`").accept(dtk::PredictionType::velocity);
        if (context.process().whole_steps())
            throw dtk::Error("loss `meanflow` has times between the whole steps of this process",
                             "use a fixed schedule, such as flow");
        const auto* told = dynamic_cast<const dtk::ToldEnd*>(&context.model());
        if (!told || !told->knows_end() || context.model().predicts() != dtk::PredictionType::velocity)
            throw dtk::Error("loss `meanflow` trains an average velocity, which is told two times",
                             "set prediction = \"velocity\" and end_time = true in [model]");
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto rows = batch.x.size(0);
        const auto T = static_cast<double>(process.steps());
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto v = process.target(dtk::PredictionType::velocity, batch.x, xt, t);

        // Where the step ends.
        const auto place = random.stream("end").uniform({rows}, at::kDouble);
        const auto early = random.stream("share").uniform({rows}, at::kDouble) < c.share;
        const auto times = t.rows(rows), r = at::where(early, place * (times + 1) - 1, times);

        // du/dt along the path; a unit of time is a T-th of u.
        const auto ending = dtk::leading_to(denoise, r, rows);
        const auto velocity = [&](const Tensor& x, const dtk::Time& t) {
            const auto answer = ending(x, t);
            if (answer.type != dtk::PredictionType::velocity)
                throw dtk::Error(
                    "loss `meanflow` differentiates what the network itself answers, and that is no velocity");
            return answer.value;
        };
        const auto [u, rate] = dtk::along(velocity, xt.x, v / T, t);
        const auto target = v - dtk::Coefficient::of_rows(times - r) * rate;

        const auto error = (u - target).square().flatten(1).mean(1);
        const auto weight = (error.detach() + c.c).pow(-c.power);
        return {{{.value = weight * error, .error_of = dtk::PredictionType::velocity}}, {{"error", error}}};
    }
};
}  // namespace

DTK_PLUGIN(Loss, meanflow, MeanFlow, "the average velocity between two times, for one step (Geng et al. 2025)")
