// L_simple = E_{t, x_0, ε} ‖target − prediction‖² / d,   t drawn by `times`
// Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, eq. 14; the target is what the model predicts (ε
// there) unless said otherwise.
#include <optional>

#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {
struct Simple final : dtk::Loss {
    struct Config {
        std::string target = "model";
        dtk::Choice<dtk::Times> times;
        void fields(dtk::Fields& f) {
            f("target", target, {"model", "eps", "x0", "v"},
              "what is compared; `model`: what the model itself predicts");
            f("times", times, "how t is drawn");
        }
    };
    Simple(const Config& config, const dtk::View& view) : times_(config.times.make(view)) {
        if (config.target != "model") target_ = dtk::predicts(config.target);
        view.process().accept(target_.value_or(view.model().predicts()));
    }

    dtk::LossValues operator()(const dtk::Predict& predict, const dtk::Process& process, const dtk::Batch& batch,
                               const dtk::Random& random) const override {
        const auto [t, weight] = times_->draw(batch, process, random.stream("t"));
        const auto time = t.to(batch.x.device(), /*non_blocking=*/true);
        const auto xt = process.noised(batch.x, time, random.stream("noise"));
        const auto prediction = predict(xt.x, time, {.label = batch.label});
        const auto kind = target_.value_or(prediction.kind);
        const auto error = process.convert(prediction, kind, xt.x, time) - process.target(kind, batch.x, xt, time);
        return {error.square().flatten(1).mean(1) * weight.to(batch.x.options(), true), time};
    }

    std::shared_ptr<dtk::Times> times_;
    std::optional<dtk::Predicts> target_;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Loss, simple, Simple, "mean squared error of the prediction (Ho et al. 2020)")
