// −log p(c | x),   log p(c | x) = f_c − log Σ_k e^{f_k},   f the log-odds that a classifier answers
// Of the examples as they are; with `noised` of x_t at times that `times` draws, for a classifier that guides
// (Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 4).
#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {

using at::Tensor;

struct CrossEntropy final : dtk::Loss {
    struct Config {
        bool noised = false;
        dtk::Choice<dtk::Times> times;
        void fields(dtk::Fields& f) {
            f("noised", noised, "classify x_t instead of x_0");
            f("times", times, "how t is drawn, with `noised`");
        }
    } c;

    CrossEntropy(const Config& config, const dtk::View& view) : c(config), times_(config.times.make(view)) {
        if (view.dataset().classes() == 0)
            throw dtk::Error("cross_entropy needs data with classes", "use other data, or give the data their labels");
        if (view.model().predicts() != dtk::Predicts::label)
            throw dtk::Error("cross_entropy trains a classifier", "use model `classifier`, or another loss");
    }

    dtk::LossValues operator()(const dtk::Predict& predict, const dtk::Process& process, const dtk::Batch& batch,
                               const dtk::Random& random) const override {
        auto x = batch.x;
        auto t = at::zeros({x.size(0)}, x.options().dtype(at::kDouble));
        auto weight = at::ones({x.size(0)}, x.options());
        if (c.noised) {
            const auto drawn = times_->draw(batch, process, random.stream("t"));
            t = drawn.t.to(x.device(), /*non_blocking=*/true);
            weight = drawn.weight.to(x.options(), true);
            x = process.noised(x, t, random.stream("noise")).x;
        }
        const auto log_p = predict(x, t, {}).value.to(at::kFloat).log_softmax(1);
        const auto right = log_p.argmax(1) == batch.label;
        return {-log_p.gather(1, batch.label.unsqueeze(1)).squeeze(1) * weight,
                t,
                {{"accuracy", right.to(x.scalar_type())}}};
    }

    std::shared_ptr<dtk::Times> times_;
};
}  // namespace

DTK_PLUGIN(Loss, cross_entropy, CrossEntropy, "negative log probability of the right class, for classifiers")
