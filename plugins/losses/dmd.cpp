// x = G(x_T) = x̂_0(x_T, T−1),   ∇L_G = E w_t (D_fake(x_t, t) − D_real(x_t, t)) ∂x/∂θ,   x_t of x,
// L_fake = E ‖target − prediction‖²/d of a network that learns to denoise what G makes
// Yin et al., "One-step Diffusion with Distribution Matching Distillation", 2024, eqs. 7 and 8, as in "Improved
// Distribution Matching Distillation", 2024, without pairs to regress on: the gradient is that of KL(p_G ‖ p_real)
// under noise. D_real is the teacher's, D_fake a network of the loss's own. Sample with one step of `ddim`.
#include <utility>

#include <dtk/distillation.hpp>
#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {

using at::Tensor;

struct Dmd final : dtk::Loss {
    struct Config {
        dtk::Reference teacher;
        dtk::Part<dtk::Model> fake;
        std::string weight = "normalised";
        void fields(dtk::Fields& f) {
            f.required("teacher", teacher, "an earlier stage, or the folder of a run");
            f("fake", fake, "the network that denoises what is made; best the teacher's, whose numbers it starts from");
            f("weight", weight, {"normalised", "kl"},
              "w: 1 over the mean of |x − D_real| of each example, or α²/σ², that of the divergence itself");
        }
    } c;
    Dmd(const Config& config, const dtk::BuildContext& context)
        : c(config), teacher_(dtk::teacher(context, c.teacher)) {
        const auto& process = dtk::gaussian(context.process(), "loss `dmd`");
        process.accept(context.model().predicts());
        dtk::must_share_noise(teacher_, process);
        fake_ = child("fake", c.fake.make(context));
        process.accept(fake_->predicts());
        start_from_teacher();
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.gaussian();
        const auto last = static_cast<double>(process.steps() - 1);
        const auto noise = process.prior(batch.x.sizes(), batch.x.options(), random.stream("start"), last);
        const auto x = denoise.x0(noise, last), made = x.detach();
        const auto xt = process.noised(made, t, random.stream("noise"));
        const dtk::Denoiser fake(
            denoise.process_ptr(),
            [&](const Tensor& x, const dtk::Time& t, dtk::Condition told) {
                told.random = &random;
                return fake_->forward(x, t, told);
            },
            batch.condition);
        const auto answer = fake(xt.x, t);

        // The generator moves along the difference of the scores.
        const auto towards = [&] {
            at::NoGradGuard no_grad;
            const auto real = teacher_.denoiser().with(batch.condition).x0(xt.x, t);
            const auto difference = process.convert(answer, dtk::PredictionType::x0, xt.x, t) - real;
            if (c.weight == "kl") return made - square(process.alpha(t) / process.sigma(t)) * difference;
            auto size = (made - real).abs().flatten(1).mean(1).clamp_min(1e-8);
            while (size.dim() < x.dim()) size = size.unsqueeze(-1);
            return made - difference / size;
        }();
        const auto generator = 0.5 * (x - towards).square().flatten(1).mean(1);

        // The fake network learns what the generator makes.
        const auto error = answer.value - process.target(answer.type, made, xt, t);
        const auto denoising = error.square().flatten(1).mean(1);
        return {{{.value = generator, .trains = "model"}, {.value = denoising, .trains = "loss"}},
                {{"fake", denoising}}};
    }

 private:
    void start_from_teacher() {
        at::NoGradGuard no_grad;
        for (const auto& mine : fake_->named_tensors())
            for (const auto& given : teacher_.model->named_tensors())
                if (mine.trained && mine.name == given.name && mine.tensor->sizes() == given.tensor->sizes())
                    mine.tensor->copy_(*given.tensor);
    }

    dtk::TrainedNetwork teacher_;
    std::shared_ptr<dtk::Model> fake_;
};
}  // namespace

DTK_PLUGIN(Loss, dmd, Dmd, "a one-step generator whose law is the teacher's (Yin et al. 2024)")
