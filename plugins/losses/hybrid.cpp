// L_hybrid = L_simple + λ L_vlb,   L_vlb = Σ_t L_t in bits per dimension, with the mean of each step held fixed
// Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, section 3.1: the squared error trains
// the mean, the bound the variance alone. One step is drawn and stands for all T, so that at λ = 0.001 it counts
// T/1000.
#include <numbers>

#include <dtk/loss.hpp>
#include <dtk/mean_squares.hpp>
#include <dtk/model.hpp>

namespace {
struct Hybrid final : dtk::Loss {
    struct Config {
        double lambda = 0.001;
        void fields(dtk::Fields& f) { f("lambda", lambda, dtk::above(0), "λ, the weight of the bound"); }
    } c;
    Hybrid(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::gaussian(context.process(), "loss `hybrid`").accept(context.model().predicts());
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& drawn,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const dtk::Time t = drawn.rows(batch.x.size(0)).ceil();  // the step that a real time falls into
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto prediction = denoise(xt.x, t);
        if (!prediction.variance)
            throw dtk::Error("`hybrid` trains the variance of the reverse steps, and the network answers none",
                             "set variance = \"range\" in [model], or use loss `simple`");

        // L_simple, which trains the network by its mean
        const auto error = prediction.value - process.target(prediction.type, batch.x, xt, t);
        const auto simple = dtk::mean_squares(error);

        // L_t of the variance, the mean held fixed
        const dtk::Prediction held{prediction.type, prediction.value.detach(), prediction.variance};
        const double bits =
            static_cast<double>(batch.x.size(0)) / (static_cast<double>(batch.x.numel()) * std::numbers::ln2);
        const auto vlb = process.bound_term(batch.x, xt.x, t, t.minus(1), held, process.variances().front()) *
                         (bits * static_cast<double>(process.steps()));
        return {{{.value = simple, .trains = "model", .error_of = prediction.type}, {.value = c.lambda * vlb}},
                {{"vlb", vlb}}};
    }
};
}  // namespace

DTK_PLUGIN(Loss, hybrid, Hybrid, "mean squared error, and the bound for a learned variance (Nichol & Dhariwal 2021)")
