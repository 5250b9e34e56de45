// L = E d(f(x_t, t), f⁻(x_s, s)),   s = t − T/N,   f(x, −1) = x,   f⁻: f, not differentiated
// Song, Dhariwal, Chen & Sutskever, "Consistency Models", 2023: f takes every point of a path of the probability flow
// to the path's end. It is the network's x̂_0, so prediction = "edm" starts it at the identity where there is no noise.
// Distillation, algorithm 2: x_s is one step of the teacher's flow from x_t. Training, algorithm 3: x_s has the same
// x_0 and ε, which is off by O(1/N). The target network is f itself and d may be Song & Dhariwal's ("Improved
// Techniques for Training Consistency Models", 2024), √(‖Δ‖²/d + c²) − c.
#include <optional>

#include <dtk/distillation.hpp>
#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {
struct Consistency final : dtk::Loss {
    struct Config {
        dtk::Reference teacher;
        std::int64_t steps = 50;
        double huber = 0;
        void fields(dtk::Fields& f) {
            f("teacher", teacher,
              "whose flow is followed: an earlier stage, or the folder of a run; none: training alone");
            f("steps", steps, dtk::at_least(1), "N, strides between data and noise");
            f("huber", huber, dtk::at_least(0), "c of the distance √(‖Δ‖²/d + c²) − c; 0: the squared error ‖Δ‖²/d");
        }
    } c;
    Consistency(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto& process = dtk::gaussian(context.process(), "loss `consistency`");
        process.accept(context.model().predicts());
        dtk::must_divide(process, c.steps);
        if (!c.teacher) return;
        teacher_ = dtk::teacher(context, c.teacher);
        dtk::must_share_noise(*teacher_, process);
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto s =
            dtk::not_before(-1, t.minus(static_cast<double>(process.steps()) / static_cast<double>(c.steps)));
        const auto xt = process.noised(batch.x, t, random.stream("noise"));

        const auto target = [&] {
            at::NoGradGuard no_grad;
            const auto xs = teacher_ ? dtk::flow_step(teacher_->denoiser().with(batch.condition), xt.x, t, s)
                                     : process.mix(batch.x, xt.noise, s);
            const auto at_data = s.map([](double s) { return s <= -1 ? 1.0 : 0.0; }).beside(xs) > 0;
            return at::where(at_data, xs, denoise.x0(xs, dtk::not_before(0, s)));
        }();
        auto distance = (denoise.x0(xt.x, t) - target).square().flatten(1).mean(1);
        if (c.huber > 0) distance = (distance + c.huber * c.huber).sqrt() - c.huber;
        return {{{.value = distance, .error_of = dtk::PredictionType::x0}}};
    }

 private:
    std::optional<dtk::TrainedNetwork> teacher_;
};
}  // namespace

DTK_PLUGIN(Loss, consistency, Consistency,
           "one end for every path of the flow, by itself or from a teacher (Song et al. 2023)")
