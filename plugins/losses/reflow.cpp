// L = E ‖u(x_t, t) − (α̇ x̂ + σ̇ z)‖²/d,   x_t = α x̂ + σ z,   x̂: where the teacher's flow takes the noise z
// Liu, Gong & Liu, "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", 2023, section
// 2.2. The pairs (z, x̂) are made as they are needed, by `steps` evaluations of the teacher each; of the data only the
// conditions are looked at. The teacher may have other noise levels.
#include <dtk/compared.hpp>
#include <dtk/distillation.hpp>
#include <dtk/mean_squares.hpp>

namespace {
struct Reflow final : dtk::Loss {
    struct Config {
        dtk::Reference teacher;
        std::int64_t steps = 20;
        void fields(dtk::Fields& f) {
            f.required("teacher", teacher, "an earlier stage, or the folder of a run");
            f("steps", steps, dtk::at_least(1), "equal strides of the teacher's flow from noise to data");
        }
    } c;
    Reflow(const Config& config, const dtk::BuildContext& context)
        : c(config), teacher_(dtk::teacher(context, c.teacher)) {
        const auto& process = dtk::gaussian(context.process(), "loss `reflow`");
        process.accept(context.model().predicts());
        process.accept(dtk::PredictionType::velocity);
        dtk::must_divide(*teacher_.process, c.steps);
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto z = process.noise(batch.x.sizes(), batch.x.options(), random.stream("noise"));
        const auto end = end_of(z, batch.condition);
        const dtk::NoisySample xt{process.mix(end, z, t), z};
        constexpr auto velocity = dtk::PredictionType::velocity;
        const auto error = dtk::error_as(velocity, denoise(xt.x, t), process, end, xt, t);
        return {{{.value = dtk::mean_squares(error), .error_of = velocity}}};
    }

 private:
    at::Tensor end_of(const at::Tensor& z, const dtk::Condition& condition) const {
        at::NoGradGuard no_grad;
        const auto teacher = teacher_.denoiser().with(condition);
        const double T = static_cast<double>(teacher.process().steps()), stride = T / static_cast<double>(c.steps);
        auto x = teacher.process().mix(at::zeros_like(z), z, T - 1);
        for (auto i = c.steps; i > 0; --i) {
            const double t = static_cast<double>(i) * stride - 1, s = i == 1 ? -1 : t - stride;
            x = dtk::flow_step(teacher, x, t, s);
        }
        return x;
    }

    dtk::TrainedNetwork teacher_;
};
}  // namespace

DTK_PLUGIN(Loss, reflow, Reflow,
           "the straight lines between noise and where a teacher's flow takes it (Liu et al. 2023)")
