// L = E ‖x̂_0(x_t, t) − x̃‖²/d,   x̃ = (x_r − (σ_r/σ_t) x_t)/(α_r − (σ_r/σ_t) α_t),   x_r: two DDIM steps of the teacher
// Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, algorithm 2: one DDIM step of
// the student, t → r = t − T/N, ends where two of the teacher do. Each stage halves the steps: name the stage before as
// the teacher, and sample with `ddim` on the grid `trailing`.
#include <dtk/distillation.hpp>
#include <dtk/loss.hpp>
#include <dtk/mean_squares.hpp>
#include <dtk/model.hpp>

namespace {
struct Progressive final : dtk::Loss {
    struct Config {
        dtk::Reference teacher;
        std::int64_t steps = 8;
        void fields(dtk::Fields& f) {
            f.required("teacher", teacher, "an earlier stage, or the folder of a run");
            f("steps", steps, dtk::at_least(1), "N of the student; the teacher makes twice as many");
        }
    } c;
    Progressive(const Config& config, const dtk::BuildContext& context)
        : c(config), teacher_(dtk::teacher(context, c.teacher)) {
        const auto& process = dtk::gaussian(context.process(), "loss `progressive`");
        process.accept(context.model().predicts());
        dtk::must_divide(process, 2 * c.steps);
        dtk::must_share_noise(teacher_, process);
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& drawn,
                               const dtk::Random& random) const override {
        const auto& process = denoise.gaussian();
        const double stride = static_cast<double>(process.steps()) / static_cast<double>(c.steps);
        const auto t = dtk::on_grid(drawn, process.steps(), c.steps);
        const auto half = t.minus(stride / 2), r = dtk::not_before(-1, t.minus(stride));
        const auto x = process.noised(batch.x, t, random.stream("noise")).x;

        const auto target = [&] {
            at::NoGradGuard no_grad;
            const auto teacher = teacher_.denoiser().with(batch.condition);
            const auto end = dtk::flow_step(teacher, dtk::flow_step(teacher, x, t, half), half, r);
            const auto kept = process.sigma(r) / process.sigma(t);
            return (end - kept * x) / (process.alpha(r) - kept * process.alpha(t));
        }();
        const auto error = denoise.x0(x, t) - target;
        return {{{.value = dtk::mean_squares(error), .error_of = dtk::PredictionType::x0}}};
    }

 private:
    dtk::TrainedNetwork teacher_;
};
}  // namespace

DTK_PLUGIN(Loss, progressive, Progressive, "one step where the teacher makes two (Salimans & Ho 2022)")
