// log-SNR(u) = −γ(u),   γ(u) = γ_0 + (γ_1 − γ_0)·(γ̃(u) − γ̃(0))/(γ̃(1) − γ̃(0)),   γ̃(u) = w u + Σ_k v_k sigmoid(a_k u +
// c_k) with w, v, a > 0, so that it rises for any weights; γ_0 and γ_1 are learned too. Kingma, Salimans, Poole & Ho,
// "Variational Diffusion Models", 2021, section 3.1 and appendix H. Train it with `elbo`. In continuous time the bound
// depends on the two ends alone; with T steps it also moves what lies between.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/learned_schedule.hpp>

namespace {

using at::Tensor;

/// The x ≥ 0 whose softplus is y.
double inverse_softplus(double y) { return y + std::log(-std::expm1(-y)); }

struct Monotone final : dtk::LearnedSchedule {
    struct Config {
        double log_snr_first = 13.3, log_snr_last = -5;
        std::int64_t hidden = 32;
        void fields(dtk::Fields& f) {
            f("log_snr_first", log_snr_first, dtk::in(-30, 30), "log-SNR of nearly clean data that it starts from");
            f("log_snr_last", log_snr_last, dtk::in(-30, 30), "log-SNR of the last step that it starts from");
            f("hidden", hidden, dtk::in(1, 4096), "units of its network; the paper has 1024");
        }
    };
    Monotone(const Config& config, const dtk::BuildContext&) {
        const double range = config.log_snr_first - config.log_snr_last;
        if (!(range > 0))
            throw dtk::Error("the log-SNR must fall from `log_snr_first` to `log_snr_last`",
                             "as in log_snr_first = 13.3, log_snr_last = -5");
        // It starts nearly linear: the steps of its units are spread over u and small.
        gamma_0_ = &parameter("gamma_0", at::full({1}, -config.log_snr_first));
        range_ = &parameter("range", at::full({1}, inverse_softplus(range)));
        slope_ = &parameter("slope", at::full({1}, inverse_softplus(1)));
        height_ = &parameter("height", at::full({config.hidden}, inverse_softplus(0.1 / config.hidden)));
        steepness_ = &parameter("steepness", at::full({config.hidden}, inverse_softplus(8)));
        shift_ = &parameter("shift", -8 * (at::arange(config.hidden) + 0.5) / config.hidden);
    }

    Tensor log_alpha_bar(const Tensor& t, std::int64_t steps) const override {
        const auto u = (t + 1) / static_cast<double>(steps);
        const auto rise = rises(u), first = rises(at::zeros_like(u)), last = rises(at::ones_like(u));
        const auto gamma = gamma_0_->to(at::kDouble) + positive(range_) * (rise - first) / (last - first);
        return at::where(t > -1, at::log_sigmoid(-gamma), 0.0);
    }
    bool whole_steps() const override { return false; }

 protected:
    dtk::NoiseLevels read(std::int64_t steps) const override {
        const auto number = [](const Tensor& x) { return x.item<double>(); };
        const auto numbers = [](const Tensor& x) {
            const auto here = x.cpu().contiguous();
            return std::vector<double>(here.const_data_ptr<double>(), here.const_data_ptr<double>() + here.numel());
        };
        const auto rise = [w = number(positive(slope_)), v = numbers(positive(height_)),
                           a = numbers(positive(steepness_)), c = numbers(shift_->to(at::kDouble))](double u) {
            double sum = w * u;
            for (std::size_t k = 0; k < v.size(); ++k) sum += v[k] / (1 + std::exp(-a[k] * u - c[k]));
            return sum;
        };
        return dtk::NoiseLevels::from_function(
            steps, [rise, first = rise(0), last = rise(1), gamma_0 = number(gamma_0_->to(at::kDouble)),
                    range = number(positive(range_))](double u) {
                return dtk::variance_preserving(-(gamma_0 + range * (rise(u) - first) / (last - first)));
            });
    }

 private:
    /// γ̃(u). u: [N]. A sum, not a product with a vector: a row's bits do not depend on how many there are.
    Tensor rises(const Tensor& u) const {
        const auto units = (u.unsqueeze(1) * positive(steepness_) + shift_->to(at::kDouble)).sigmoid();
        return positive(slope_) * u + (units * positive(height_)).sum(1);
    }
    static Tensor positive(const Tensor* x) { return at::softplus(x->to(at::kDouble), 1, 40); }
    Tensor *gamma_0_, *range_, *slope_, *height_, *steepness_, *shift_;
};
}  // namespace

DTK_PLUGIN(Schedule, monotone, Monotone,
           "log-SNR is a monotone network that is trained, by the bound (VDM, Kingma et al. 2021); elsewhere: vdm, "
           "learned_linear")
