// L_D = E f(D(G(z)) − D(x)) + γ/2 E‖∇D‖²,   L_G = E f(D(x) − D(G(z))),   f(a) = log(1 + e^a),   z = x_T
// pairing = "relativistic": every example beside one that was made (Jolicoeur-Martineau 2018; Huang et al., "The GAN is
// dead; long live the GAN! A Modern GAN Baseline", 2024, eqs. 2 and 6: with penalties at both, training converges
// locally and no mode is left). "separate": L_D = E f(−D(x)) + E f(D(G(z))), L_G = E f(−D(G(z))), the non-saturating
// loss of Goodfellow et al., "Generative Adversarial Nets", 2014.
// penalty = "data": ‖∇D(x)‖², R1 of Mescheder, Geiger & Nowozin, "Which Training Methods for GANs do actually
// Converge?", 2018; "both": also ‖∇D(G(z))‖².
// G is the model, asked once at the noisy end; D is the loss's own. Both move at every step. Sample with `decode`.
#include <torch/csrc/autograd/autograd.h>

#include <dtk/encoder.hpp>
#include <dtk/loss.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

struct Gan final : dtk::Loss {
    struct Config {
        dtk::Encoder::Config critic;
        std::string pairing = "relativistic", penalty = "both";
        double gamma = 1;
        void fields(dtk::Fields& f) {
            f("pairing", pairing, {"relativistic", "separate"}, "is D told examples in pairs, or one by one?");
            f("penalty", penalty, {"data", "both"}, "where the slope of D is penalised: R1, or R1 and R2");
            f("gamma", gamma, dtk::at_least(0), "γ; 0: no penalty, and no convergence");
            critic.fields(f);
        }
    } c;
    Gan(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::gaussian(context.process(), "loss `gan`");
        critic_ =
            child<dtk::Encoder>("critic", context.random("init").stream("loss"), c.critic, context.space().shape, 1);
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time&,
                               const dtk::Random& random) const override {
        const at::AutoGradMode recorded(true);  // the slope of D is asked for, whoever asks for the losses
        const auto& process = denoise.process();
        const auto last = process.levels().last();
        const auto z = process.prior(batch.x.sizes(), batch.x.options(), random.stream("start"), last);
        const auto made = denoise.x0(z, last);

        // The critic tells data from what is made, with a slope of its own.
        const auto x = batch.x.detach().requires_grad_(true), x_made = made.detach().requires_grad_(true);
        const auto of_data = judged(x), of_made = judged(x_made);
        auto critic = separate() ? at::softplus(-of_data) + at::softplus(of_made) : at::softplus(of_made - of_data);
        auto slope = slope2(of_data, x);
        if (c.penalty == "both") slope = slope + slope2(of_made, x_made);
        critic = critic + 0.5 * c.gamma * slope;

        // The generator is judged better where it is told from data less well.
        const auto now = judged(made);
        const auto generator = at::softplus(separate() ? -now : of_data.detach() - now);
        return {{{.value = generator, .trains = "model"}, {.value = critic, .trains = "loss"}},
                {{"critic", critic}, {"slope2", slope}, {"apart", of_data - of_made}}};
    }
    bool draws_times() const override { return false; }

 private:
    bool separate() const { return c.pairing == "separate"; }
    Tensor judged(const Tensor& x) const { return (*critic_)(x).squeeze(1); }
    /// ‖∂D/∂x‖² of each example, differentiable.
    static Tensor slope2(const Tensor& judged, const Tensor& x) {
        const auto gradient = torch::autograd::grad({judged.sum()}, {x}, {}, std::nullopt, /*create_graph=*/true);
        return gradient.front().square().flatten(1).sum(1);
    }

    std::shared_ptr<dtk::Encoder> critic_;
};
}  // namespace

DTK_PLUGIN(Loss, gan, Gan,
           "a generator against a critic whose slope is penalised (Goodfellow et al. 2014; Huang et al. 2024)")
