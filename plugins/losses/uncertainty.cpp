// L = E e^{−ℓ(t)}·‖target − prediction‖²/d + ℓ(t),   ℓ = w·√2 cos(2π(f c + φ)), c = ¼ ln(σ/α), w trained
// Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", 2024, eq. 14: ℓ learns the log of
// the error at each noise level, and every level's gradient then counts alike. It weighs the noise levels by itself, so
// [weighting] has no say in it.
#include <algorithm>
#include <numbers>

#include <dtk/loss.hpp>
#include <dtk/mean_squares.hpp>
#include <dtk/model.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Uncertainty final : dtk::Loss {
    struct Config {
        std::int64_t features = 128;
        void fields(dtk::Fields& f) { f("features", features, dtk::at_least(1), "random cosines of the noise level"); }
    };
    Uncertainty(const Config& config, const dtk::BuildContext& context) {
        context.process().accept(context.model().predicts());
        const auto init = context.random("init").stream("uncertainty");
        const auto n = config.features;
        frequency_ = &buffer("frequency", init.stream("frequency").normal({n}, at::kFloat));
        phase_ = &buffer("phase", init.stream("phase").uniform({n}, at::kFloat));
        weight_ = &parameter("weight", at::zeros({n}));
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto xt = process.noised(batch.x, t, random.stream("noise"));
        const auto prediction = denoise(xt.x, t);
        const auto target = process.target(prediction.type, batch.x, xt, t);
        const auto error = dtk::mean_squares(prediction.value - target);
        const auto log_variance = this->log_variance(process, t, error);
        return {{{.value = (-log_variance).exp() * error + log_variance}},
                {{"error", error}, {"log_variance", log_variance}}};
    }

 private:
    /// → [B], as x
    at::Tensor log_variance(const dtk::Process& process, const dtk::Time& t, const at::Tensor& x) const {
        const auto& levels = process.levels();
        const auto c = t.map([&](double t) { return -std::clamp(levels.log_snr(t), -20.0, 20.0) / 8; });
        const auto turns = c.rows(x).to(at::kFloat).unsqueeze(1) * *frequency_ + *phase_;
        const auto waves = std::numbers::sqrt2 * at::cos(2 * std::numbers::pi * turns);
        return at::mv(waves, *weight_).to(x.scalar_type());
    }

    at::Tensor *frequency_, *phase_, *weight_;
};
}  // namespace

DTK_PLUGIN(Loss, uncertainty, Uncertainty,
           "mean squared error under a learned variance of each noise level (Karras et al. 2024)")
