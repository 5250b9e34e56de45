// Towards where a classifier sees the class, p(c | x_t):
//   score:  ∇ log p(x_t | c) = ∇ log p(x_t) + s ∇ log p(c | x_t),   ε̂ ← ε̂ − s σ_t ∇ log p(c | x_t)
//   mean:   μ ← μ + s Σ ∇ log p(c | x_t) of every reverse step N(μ, Σ)
// Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, algorithms 2 and 1 (the gradient taken at
// x_t). The classifier is one that was trained on x_t (loss cross_entropy with `noised`, model classifier with
// `timed`).
#include <string>

#include <dtk/classifier.hpp>
#include <dtk/guidance.hpp>

namespace {

using at::Tensor;

struct Classifier final : dtk::Guidance {
    struct Config {
        dtk::Reference of;
        double scale = 1;
        std::string form = "score";
        void fields(dtk::Fields& f) {
            f.required("of", of, "the classifier, trained on noisy examples");
            f("scale", scale, dtk::any_number(), "s; 0: no guidance");
            f("form", form, {"score", "mean"}, "move the score, or the mean of each reverse step");
        }
    } c;
    Classifier(const Config& config, const dtk::BuildContext& context) : c(config) {
        network_ = context.trained(c.of);
        if (network_.model->predicts() != dtk::PredictionType::label)
            throw dtk::Error("guidance `classifier` needs a classifier, and `" + c.of.name() + "` is another model",
                             "train model `classifier` with loss `cross_entropy` and noised = true");
        dtk::gaussian(context.process(), "guidance `classifier`");
    }
    bool moves_steps() const override { return c.form == "mean"; }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.scale == 0) return denoise;
        if (c.form == "mean")
            return denoise.shifted([this](const Tensor& x, const dtk::Normal& step, const dtk::Time& t,
                                          const dtk::Time&, const dtk::Condition& condition) {
                return step.mean + c.scale * step.variance * slope(x, t, condition.label);
            });
        return denoise.replaced([this, denoise](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto& process = denoise.gaussian();
            const auto prediction = denoise(x, t, condition);
            const auto score = process.convert(prediction, dtk::PredictionType::score, x, t);
            return dtk::Prediction{dtk::PredictionType::score, score + c.scale * slope(x, t, condition.label),
                                   prediction.variance};
        });
    }

 private:
    /// ∇ log p(c | x_t)
    Tensor slope(const Tensor& x, const dtk::Time& t, const Tensor& label) const {
        if (!label.defined())
            throw dtk::Error("guidance `classifier` steers towards a class, and no classes are drawn",
                             "use data with classes, or name `labels` in [sample]");
        const at::AutoGradMode with_gradient(true);
        const auto at = x.detach().requires_grad_(true);
        const auto log_p = network_.model->forward(at, t, {}).value.to(at::kFloat).log_softmax(1);
        log_p.gather(1, label.unsqueeze(1))
            .sum()
            .backward({}, /*retain_graph=*/false, /*create_graph=*/false, at::TensorList({at}));
        return at.grad().to(x.scalar_type());
    }

    dtk::TrainedNetwork network_;
};
}  // namespace

DTK_PLUGIN(Guidance, classifier, Classifier, "towards where a classifier sees the class (Dhariwal & Nichol 2021)")
