#pragma once
// What the losses of one prediction's error share: which type of prediction is compared, and the difference.
#include <optional>
#include <string>

#include <dtk/loss.hpp>
#include <dtk/mean_squares.hpp>
#include <dtk/model.hpp>

namespace dtk {

/// A prediction of x_t turned into another type, less what that should be. → as x_0
inline Tensor error_as(PredictionType type, const Prediction& prediction, const Process& process, const Tensor& x0,
                       const NoisySample& xt, const Time& t) {
    return process.convert(prediction, type, xt.x, t) - process.target(type, x0, xt, t);
}

/// The mean of each row over what its mask says that exists, over everything where nothing is said. value: [B, ...],
/// mask: as that or one number for all along its last axes, as for each residue of a chain → [B]
inline Tensor mean_of_existing(const Tensor& value, const Tensor& mask) {
    if (!mask.defined()) return value.flatten(1).mean(1);
    auto there = mask.to(value.options());
    while (there.dim() > value.dim()) there = there.select(-1, 0);
    while (there.dim() < value.dim()) there = there.unsqueeze(-1);
    there = there.expand_as(value);
    return (value * there).flatten(1).sum(1) / there.flatten(1).sum(1).clamp_min(1);
}

/// The mean square of each row over what exists. error: [B, ...] → [B]
inline Tensor mean_squares(const Tensor& error, const Tensor& mask) {
    return mask.defined() ? mean_of_existing(error.square(), mask) : mean_squares(error);
}

/// What is compared: what the model predicts, or another type that its predictions are turned into.
struct Compared {
    struct Config {
        std::string target = "model";
        void fields(Fields& f) {
            f("target", target, {"model", "eps", "x0", "v", "velocity", "edm"},
              "what is compared; `model`: what the model itself predicts");
        }
    };
    /// Errors: Error where the process knows no such type.
    Compared(const Config& config, const BuildContext& context) {
        if (config.target != "model") type_ = prediction_type(config.target);
        context.process().accept(type_.value_or(context.model().predicts()));
    }

    struct Difference {
        Tensor value;  ///< as x_0
        PredictionType type;
    };
    /// Of examples that noise of that stream is added to.
    Difference operator()(const Denoiser& denoise, const Tensor& x0, const Time& t, const Random& noise) const {
        const auto xt = denoise.process().noised(x0, t, noise);
        const auto prediction = denoise(xt.x, t);
        const auto type = type_.value_or(prediction.type);
        return {error_as(type, prediction, denoise.process(), x0, xt, t), type};
    }

 private:
    std::optional<PredictionType> type_;
};

}  // namespace dtk
