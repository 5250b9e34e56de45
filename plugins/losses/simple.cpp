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
        void fields(dtk::Fields& f) {
            f("target", target, {"model", "eps", "x0", "v", "velocity", "edm"},
              "what is compared; `model`: what the model itself predicts");
        }
    };
    Simple(const Config& config, const dtk::BuildContext& context) {
        if (config.target != "model") target_ = dtk::prediction_type(config.target);
        context.process().accept(target_.value_or(context.model().predicts()));
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto prediction = denoise(xt.x, t);
        const auto type = target_.value_or(prediction.type);
        const auto error = process.convert(prediction, type, xt.x, t) - process.target(type, batch.x, xt, t);
        return {{{.value = error.square().flatten(1).mean(1), .error_of = type}}};
    }

    std::optional<dtk::PredictionType> target_;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Loss, simple, Simple, "mean squared error of the prediction (Ho et al. 2020)")
